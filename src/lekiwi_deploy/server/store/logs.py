"""Log lines of robots and builds, in day partitions, numbered by a cursor that rises in the order in which they become visible."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.events import NewAck
from lekiwi_deploy.server.store.json_text import json_text, plain_text
from lekiwi_deploy.server.store.partitions import make_days
from lekiwi_deploy.wire.api import LogEntry
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RobotId

_LOCK = 4_907_003
_LONGEST = 16_384
_SKEW = timedelta(days=1)
"""How far ahead a robot's clock may run before `since` misses its lines."""


class NewLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `robot` None: a build's; then `service` is build or test. `stream`: out, err or agent."""

    project: ProjectName
    robot: RobotId | None
    service: str
    deployment: DeploymentId | None
    at: datetime
    stream: str
    text: str
    level: str | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are asked for. `build`: those of builds instead of robots'. `grep`: text that they contain, whatever the case;
    `levels`: lines that have one of these levels."""

    project: ProjectName
    build: bool = False
    robot: str | None = None
    deployment: str | None = None
    service: str | None = None
    levels: tuple[str, ...] | None = None
    environment: str | None = None
    grep: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def append(tx: Transaction, lines: Sequence[NewLine], now: datetime) -> None:
    """Stores lines by COPY. Hints `logs` of their projects.

    A lock per project is held until the commit, so that no line becomes visible after one with a higher cursor: a reader that goes on
    from a cursor misses nothing.
    """
    if not lines:
        return
    projects = sorted({line.project for line in lines})
    await tx.execute(
        "SELECT pg_advisory_xact_lock(%s, hashtext(project)) FROM unnest(%s::text[]) AS project", (_LOCK, projects)
    )
    await make_days(tx, now.date(), 2)
    await tx.copy(
        "COPY logs (project, robot, service, deployment, at, stored_at, stream, level, text) FROM STDIN",
        (
            (
                line.project,
                line.robot,
                plain_text(line.service),
                None if line.deployment is None else plain_text(line.deployment),
                line.at,
                now,
                plain_text(line.stream),
                None if line.level is None else plain_text(line.level),
                plain_text(line.text[:_LONGEST]),
            )
            for line in lines
        ),
    )
    for project in projects:
        await tx.notify("logs", project)


async def acknowledge(tx: Transaction, acks: Sequence[NewAck]) -> set[str]:
    """Moves robots' acknowledged log numbers on where the session is still theirs; returns the robots of which that is so. Do it before
    `append`, and append the lines of these robots only."""
    kept = await tx.rows(
        """
        UPDATE robots r SET acked_logs = GREATEST(r.acked_logs, new.seq)
        FROM jsonb_to_recordset(%s::jsonb) AS new(robot text, session text, seq bigint)
        WHERE r.name = new.robot AND r.session = new.session RETURNING r.name
        """,
        (json_text(acks),),
        str,
    )
    return set(kept)


_WHERE = """
project = %(project)s AND (robot IS NULL) = %(build)s
AND (%(robot)s::text IS NULL OR robot = %(robot)s)
AND (%(deployment)s::text IS NULL OR deployment = %(deployment)s)
AND (%(service)s::text IS NULL OR service = %(service)s)
AND (%(levels)s::text[] IS NULL OR level = ANY(%(levels)s))
AND (%(environment)s::text IS NULL
    OR robot IN (SELECT name FROM robots r WHERE r.project = %(project)s AND r.environment = %(environment)s)
    OR (robot IS NULL AND deployment IN
        (SELECT d.id FROM deployments d WHERE d.project = %(project)s AND d.environment = %(environment)s)))
AND (%(grep)s::text IS NULL OR strpos(lower(text), lower(%(grep)s)) > 0)
AND (%(since)s::timestamptz IS NULL OR (at >= %(since)s AND stored_at >= %(stored_since)s))
AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
"""
_COLUMNS = "cursor::text AS cursor, at, robot, service, deployment, stream, text, level"
_AFTER = f"SELECT {_COLUMNS} FROM logs WHERE cursor > %(after)s AND cursor <= %(upto)s AND {_WHERE} ORDER BY logs.cursor LIMIT %(limit)s"
_NEWEST = f"SELECT {_COLUMNS} FROM logs WHERE cursor <= %(upto)s AND {_WHERE} ORDER BY logs.cursor DESC LIMIT %(limit)s"


async def high_water(tx: Transaction, project: str, after: int) -> int:
    """The newest cursor that can be read now: nothing at or below it will appear later. At least `after`."""
    found = await tx.row(
        "SELECT max(cursor) FROM logs WHERE project = %s AND cursor > %s",
        (project, after),
        int | None,  # type: ignore[arg-type]
    )
    return found or after


async def after(tx: Transaction, wanted: Filter, cursor: int, upto: int, limit: int) -> list[LogEntry]:
    """Lines after `cursor` up to `upto`, oldest first, at most `limit`."""
    return await tx.rows(_AFTER, _params(wanted, after=cursor, upto=upto, limit=limit), LogEntry)


async def newest(tx: Transaction, wanted: Filter, upto: int, limit: int) -> list[LogEntry]:
    """The last `limit` lines up to the cursor `upto`, oldest first."""
    found = await tx.rows(_NEWEST, _params(wanted, upto=upto, limit=limit), LogEntry)
    return found[::-1]


def _params(wanted: Filter, **more: int) -> dict[str, object]:
    since = wanted.since
    return {
        **msgspec.structs.asdict(wanted),
        "levels": None if wanted.levels is None else list(wanted.levels),
        "stored_since": None if since is None else since - _SKEW,
        **more,
    }
