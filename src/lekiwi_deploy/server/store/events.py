"""What robots' event spools brought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import Event


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a robot's spool."""

    robot: RobotId
    seq: int
    event: Event


class NewAck(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to `seq` is stored, if `session` is still the robot's."""

    robot: RobotId
    session: str
    seq: int


async def store(tx: Transaction, new: Sequence[NewEvent], acks: Sequence[NewAck]) -> set[str]:
    """Stores events of robots whose session is still theirs, each once, and moves their acknowledged numbers on; returns the robots
    whose session was not. That a robot switched by force, and over what, also goes to the history of changes, by who wanted it."""
    kept = await tx.rows(
        """
        UPDATE robots r SET acked_events = GREATEST(r.acked_events, new.seq)
        FROM jsonb_to_recordset(%s::jsonb) AS new(robot text, session text, seq bigint)
        WHERE r.name = new.robot AND r.session = new.session RETURNING r.name
        """,
        (json_text(acks),),
        str,
    )
    mine = set(kept)
    await tx.execute(
        """
        WITH stored AS (
            INSERT INTO robot_events (robot, seq, at, body)
            SELECT robot, seq, (event ->> 'at')::timestamptz, event
            FROM jsonb_to_recordset(%s::jsonb) AS new(robot text, seq bigint, event jsonb)
            ON CONFLICT DO NOTHING RETURNING robot, seq, body
        )
        INSERT INTO audit (actor, action, target, detail, origin)
        SELECT COALESCE(r.forced_by, 'robot/' || r.name), 'robot.overridden', concat_ws('/', 'project', r.project, r.environment, r.name),
            jsonb_build_object('deployment', stored.body -> 'deployment', 'what', stored.body -> 'text', 'force', true),
            'robot/' || r.name
        FROM stored JOIN robots r ON r.name = stored.robot
        WHERE stored.body ->> 'kind' = 'overridden' ORDER BY stored.robot, stored.seq
        """,
        (json_text([one for one in new if one.robot in mine]),),
    )
    return {str(ack.robot) for ack in acks} - mine


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event as stored. `stored_at`: by the server's clock."""

    robot: RobotId
    seq: int
    at: datetime
    stored_at: datetime
    body: Event


async def newest(tx: Transaction, robot: str, limit: int, before: int | None = None) -> list[EventRow]:
    """The latest events of a robot, newest first; with `before` only those with a smaller number."""
    return await tx.rows(
        """
        SELECT robot, seq, at, stored_at, body FROM robot_events
        WHERE robot = %(robot)s AND (%(before)s::bigint IS NULL OR seq < %(before)s) ORDER BY seq DESC LIMIT %(limit)s
        """,
        {"robot": robot, "limit": limit, "before": before},
        EventRow,
    )
