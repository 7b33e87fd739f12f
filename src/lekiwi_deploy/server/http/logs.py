"""Log lines of robots and builds: history, then, when followed, what comes, without a gap between the two."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from litestar import get
from litestar.response import Stream

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.durations import moment
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import RECHECK_S, hint_or_stop
from lekiwi_deploy.server.http.deployments import found
from lekiwi_deploy.server.http.ndjson import ndjson
from lekiwi_deploy.server.store import logs, projects
from lekiwi_deploy.server.store.logs import Filter
from lekiwi_deploy.server.targeting import robot_of
from lekiwi_deploy.wire.api import LogEntry
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName

MAX_HISTORY = 10_000
LEVELS = ("debug", "info", "warning", "error", "critical")
_PAGE = 1000


@get("/api/projects/{project:str}/logs")
async def show_logs(
    context: Context,
    project: str,
    environment: str | None = None,
    robot: str | None = None,
    deployment: str | None = None,
    service: str | None = None,
    since: str | None = None,
    until: str | None = None,
    utc_offset_min: int = 0,
    level: str | None = None,
    grep: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
    build: bool = False,
    follow: bool = False,
) -> Stream:
    """Lines, oldest first. Without `cursor` the last `limit` (1000 when not given) that fit; with it, all after it. `level`: that and above;
    `since`, `until`: times as everywhere."""
    if limit is not None and not 0 <= limit <= MAX_HISTORY:
        raise BadInput(f"limit must be 0 to {MAX_HISTORY}, not {limit}")
    if cursor is not None and not re.fullmatch(r"\d{1,18}", cursor, re.ASCII):
        raise BadInput("the cursor is not one that was given")
    if level is not None and level not in LEVELS:
        raise BadInput(f"{level[:40]!r} is no level; there are: {', '.join(LEVELS)}")
    now = context.now()
    async with context.database.transaction() as tx:
        await projects.read(tx, project)
        if environment is not None:
            await projects.environment(tx, ProjectName(project), environment)
        if robot is not None:
            named = EnvironmentName(environment) if environment is not None else None
            await robot_of(tx, ProjectName(project), named, robot)
        wanted = Filter(
            project=ProjectName(project),
            build=build,
            environment=environment,
            robot=robot,
            deployment=(await found(tx, deployment)).id if deployment is not None else None,
            service=service,
            levels=LEVELS[LEVELS.index(level) :] if level is not None else None,
            grep=grep or None,
            since=moment(since, now, utc_offset_min, what="since") if since is not None else None,
            until=moment(until, now, utc_offset_min, what="until") if until is not None else None,
        )
    return ndjson(_lines(context, wanted, int(cursor) if cursor is not None else None, limit, follow))


async def _lines(
    context: Context, wanted: Filter, cursor: int | None, limit: int | None, follow: bool
) -> AsyncIterator[LogEntry | None]:
    with context.nudges.subscribe("logs", wanted.project) as hints:
        if cursor is None:
            async with context.database.transaction() as tx:
                seen = await logs.high_water(tx, wanted.project, 0)
                history = await logs.newest(tx, wanted, seen, _PAGE if limit is None else limit)
            for line in history:
                yield line
        else:
            seen = cursor
            async for line in _after(context, wanted, seen):
                yield line
                seen = int(line.cursor)
        while follow:
            heard = await hint_or_stop(context, hints, RECHECK_S)
            if heard is None:
                return
            if not heard:
                yield None
            async with context.database.transaction() as tx:
                upto = await logs.high_water(tx, wanted.project, seen)
            async for line in _after(context, wanted, seen, upto):
                yield line
            seen = upto


async def _after(context: Context, wanted: Filter, cursor: int, upto: int | None = None) -> AsyncIterator[LogEntry]:
    while True:
        async with context.database.transaction() as tx:
            top = upto if upto is not None else await logs.high_water(tx, wanted.project, cursor)
            page = await logs.after(tx, wanted, cursor, top, _PAGE)
        for line in page:
            yield line
        if len(page) < _PAGE:
            return
        cursor = int(page[-1].cursor)


handlers = [show_logs]
