"""What held robots back, when: spans that the conductor notes when a robot's reasons change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.wire.ids import RobotId, RolloutId
from lekiwi_deploy.wire.reasons import Asked, Fetching, Reason, Starting, key

PASSING = (Asked, Fetching, Starting)
"""What only says that a robot is at work: nobody asks for that afterwards, and noting it would cost each move writes."""


class WaitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One span. `until` None: it does now."""

    robot: RobotId
    key: str
    reason: Reason
    since: datetime
    until: datetime | None


class _Seen(msgspec.Struct, frozen=True):
    robot: str
    key: str
    reason: Reason


async def note(tx: Transaction, rollout: str, reasons: Mapping[RobotId, Sequence[Reason]], now: datetime) -> None:
    """These are the reasons of these robots from now on: spans of others end, new ones begin; of those that last only what is said of them is kept
    anew. Nothing is written where nothing changed, nor of a rollout that is not the one that its environment follows."""
    seen = [
        _Seen(robot, key(one), one)
        for robot, several in reasons.items()
        for one in {key(each): each for each in several if not isinstance(each, PASSING)}.values()
    ]
    given = {"rollout": rollout, "robots": list(reasons), "seen": json_text(seen), "now": now}
    await tx.execute(
        """
        UPDATE waits w SET until = %(now)s
        WHERE w.until IS NULL AND w.robot = ANY(%(robots)s)
          AND EXISTS (SELECT FROM environments WHERE live_rollout = %(rollout)s)
          AND (w.rollout IS DISTINCT FROM %(rollout)s OR NOT EXISTS (
            SELECT FROM jsonb_to_recordset(%(seen)s::jsonb) AS seen(robot text, key text) WHERE (seen.robot, seen.key) = (w.robot, w.key)))
        """,
        given,
    )
    if seen:
        await tx.execute(
            """
            INSERT INTO waits (robot, key, reason, since, rollout)
            SELECT seen.robot, seen.key, seen.reason, %(now)s, %(rollout)s
            FROM jsonb_to_recordset(%(seen)s::jsonb) AS seen(robot text, key text, reason jsonb)
            WHERE EXISTS (SELECT FROM environments WHERE live_rollout = %(rollout)s)
            ON CONFLICT (robot, key) WHERE until IS NULL DO UPDATE SET reason = excluded.reason WHERE waits.reason <> excluded.reason
            """,
            given,
        )


async def open_since(tx: Transaction, robots: Collection[str]) -> dict[tuple[RobotId, str], datetime]:
    """Since when what holds these robots back now does, by robot and `wire.reasons.key`."""
    rows = await tx.rows("SELECT * FROM waits WHERE until IS NULL AND robot = ANY(%s)", (list(robots),), WaitRow)
    return {(row.robot, row.key): row.since for row in rows}


async def of_robot(tx: Transaction, robot: str, limit: int, since: datetime | None = None) -> list[WaitRow]:
    """What held the robot back and does not any more, newest first; `since`: that lasted until then at least."""
    return await tx.rows(
        "SELECT * FROM waits WHERE robot = %s AND until IS NOT NULL AND (%s::timestamptz IS NULL OR until >= %s) "
        "ORDER BY since DESC, id DESC LIMIT %s",
        (robot, since, since, limit),
        WaitRow,
    )


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A robot waited for its turn in a gradual rollout. `step` from 0, None: it never came; `until` None: it waits."""

    rollout: RolloutId
    step: int | None
    steps: int
    since: datetime
    until: datetime | None


async def turns(tx: Transaction, robot: str, limit: int, since: datetime | None = None) -> list[Turn]:
    """When the robot waited for its turn in gradual rollouts, and does not any more, newest first."""
    return await tx.rows(
        """
        SELECT r.id AS rollout, rr.step, jsonb_array_length(r.course -> 'steps') AS steps, r.created_at AS since,
            COALESCE(rr.assigned_at, r.finished_at) AS until
        FROM rollout_robots rr JOIN rollouts r ON r.id = rr.rollout
        WHERE rr.robot = %(robot)s AND jsonb_array_length(COALESCE(r.course -> 'steps', '[]')) > 0
          AND COALESCE(rr.assigned_at, r.finished_at) - r.created_at > interval '1 second'
          AND (%(since)s::timestamptz IS NULL OR COALESCE(rr.assigned_at, r.finished_at) >= %(since)s)
        ORDER BY r.created_at DESC LIMIT %(limit)s
        """,
        {"robot": robot, "limit": limit, "since": since},
        Turn,
    )


async def of_rollouts(tx: Transaction, rollouts: Collection[str], limit: int) -> list[WaitRow]:
    """What held robots back in these rollouts, newest first."""
    return await tx.rows(
        "SELECT * FROM waits WHERE rollout = ANY(%s) ORDER BY since DESC, id DESC LIMIT %s",
        (list(rollouts), limit),
        WaitRow,
    )


async def forget_old(tx: Transaction, before: datetime) -> int:
    """Forgets spans that ended before; how many."""
    return (await tx.execute("DELETE FROM waits WHERE until < %s", (before,))).rowcount
