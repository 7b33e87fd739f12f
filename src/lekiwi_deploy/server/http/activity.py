"""The history of changes: pages of it, what comes, and all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, get
from litestar.response import Stream

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.durations import moment
from lekiwi_deploy.server.activity import change_view, page_view
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import RECHECK_S, hint_or_stop
from lekiwi_deploy.server.http.ndjson import ndjson
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.server.store.audit import Asked
from lekiwi_deploy.wire.api import Audit
from lekiwi_deploy.wire.ids import ProjectName

MAX_PAGE = 1000
NDJSON = "application/x-ndjson"
LATE = 200
"""So many numbers back it is looked for changes that were committed after newer ones."""


@get("/api/projects/{project:str}/activity")
async def show_activity(
    context: Context,
    request: Request[Any, Any, Any],
    project: str,
    environment: str | None = None,
    type: str | None = None,
    since: str | None = None,
    limit: int | None = None,
    cursor: int | None = None,
    follow: bool = False,
    utc_offset_min: int = 0,
) -> Stream | list[Audit]:
    """The latest changes of a project, newest first; `cursor`: those with a smaller number. `type`: comma-separated actions (`robot.move`) or what
    they begin with (`robot`); `since`: a time or span. As NDJSON: oldest first, all of them unless `limit` says otherwise, and with
    `follow` what comes from then on."""
    most = limit if limit is not None else 50
    if not 1 <= most <= MAX_PAGE:
        raise BadInput(f"limit must be 1 to {MAX_PAGE}, not {limit}")
    if cursor is not None and not 0 <= cursor < 2**62:
        raise BadInput(f"cursor must be the number of a change, not {cursor}")
    asked = Asked(
        targets=(f"project/{project}" + (f"/{environment}" if environment is not None else ""),),
        since=moment(since, context.now(), utc_offset_min, what="since") if since is not None else None,
        kinds=tuple(word.strip() for word in type.split(",") if word.strip()) if type is not None else (),
    )
    async with context.database.transaction() as tx:
        known = await projects.read(tx, project)
        if environment is not None:
            await projects.environment(tx, known.name, environment)
        if NDJSON not in request.headers.get("accept", ""):
            rows = await audit.newest(tx, most, asked, before=cursor)
            every = Asked(
                targets=(f"project/{project}",)
            )  # whatever was asked for, what came after it may be in the way
            since_then = await audit.newest(tx, MAX_PAGE, every, after=rows[-1].seq - 1) if rows else []
            return page_view(rows, since_then)
        start = cursor or 0
        if limit is not None and cursor is None:
            rows = await audit.newest(tx, limit, asked)
            start = rows[-1].seq - 1 if rows else 0
    return ndjson(_lines(context, asked, ProjectName(project), start, follow))


async def _lines(
    context: Context, asked: Asked, project: ProjectName, start: int, follow: bool
) -> AsyncIterator[Audit | None]:
    """Every change after the number `start`, oldest first. What is committed late has a smaller number than what was told already: it is told when
    it is there."""
    after, told = start, deque[int](maxlen=2 * LATE)
    with context.nudges.subscribe("activity", project) as hints:
        while True:
            async with context.database.transaction() as tx:
                rows = await audit.oldest(tx, MAX_PAGE, asked, after=max(start, after - LATE) if told else after)
            for row in rows:
                if row.seq not in told:
                    told.append(row.seq)
                    yield change_view(row)
                after = max(after, row.seq)
            if len(rows) == MAX_PAGE:
                continue
            if not follow:
                return
            heard = await hint_or_stop(context, hints, RECHECK_S)
            if heard is None:
                return
            if not heard:
                yield None


handlers = [show_activity]
