"""Robots going over to another release of the agent, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.agent_upgrade import Change
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text, plain_text
from lekiwi_deploy.server.store.sessions import lock_all
from lekiwi_deploy.wire.agents import UpgradeRobotStatus, UpgradeStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentState, AgentWanted
from lekiwi_deploy.wire.platforms import Platform


class UpgradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """An upgrade; its number is the attempt that robots are told."""

    id: int
    release: str
    again: bool
    by_whom: str
    created_at: datetime
    status: UpgradeStatus
    why: str


class MemberRow(msgspec.Struct, frozen=True, kw_only=True):
    """A robot of an upgrade, and what is known of the robot. `agent_state`: as last reported; `wanted`: the number of what its agent was
    last told, None: nothing."""

    robot: RobotId
    before: str | None
    status: UpgradeRobotStatus
    asked_at: datetime | None
    why: str
    joined: bool
    online: bool
    last_seen_at: datetime | None
    platform: Platform | None
    agent_state: AgentState | None
    wanted: int | None


_COLUMNS = "id, release, again, by_whom, created_at, status, why"


async def insert(tx: Transaction, release: str, robots: Sequence[str], *, again: bool, by: str, now: datetime) -> int:
    """A new upgrade of these robots; each leaves the one that it is in. Its number."""
    await lock_all(tx, robots)
    number = await tx.row(
        "INSERT INTO agent_upgrades (release, again, by_whom, created_at) VALUES (%s, %s, %s, %s) RETURNING id",
        (release, again, by, now),
        int,
    )
    assert number is not None
    await tx.execute(
        """
        UPDATE agent_upgrade_robots m SET status = 'skipped', why = 'a later upgrade took it over'
        FROM agent_upgrades u
        WHERE u.id = m.upgrade AND u.status = 'rolling' AND m.status IN ('pending', 'asked') AND m.robot = ANY(%s)
        """,
        (list(robots),),
    )
    await tx.execute(
        """
        INSERT INTO agent_upgrade_robots (upgrade, robot, before)
        SELECT %s, name, coalesce(report #>> '{agent,release}', agent) FROM robots WHERE name = ANY(%s)
        """,
        (number, list(robots)),
    )
    await tx.notify("agents", str(number))
    return number


async def read(tx: Transaction, number: int) -> UpgradeRow | None:
    """The upgrade of that number."""
    return await tx.row(f"SELECT {_COLUMNS} FROM agent_upgrades WHERE id = %s", (number,), UpgradeRow)


async def newest(tx: Transaction, limit: int) -> list[UpgradeRow]:
    """The latest ones, newest first."""
    return await tx.rows(f"SELECT {_COLUMNS} FROM agent_upgrades ORDER BY id DESC LIMIT %s", (limit,), UpgradeRow)


async def rolling(tx: Transaction) -> list[int]:
    """The numbers of those that go on."""
    return await tx.rows("SELECT id FROM agent_upgrades WHERE status = 'rolling' ORDER BY id", (), int)


async def claim(tx: Transaction, number: int) -> UpgradeRow | None:
    """The upgrade, if it goes on and nobody else works at it; locked until the transaction ends."""
    return await tx.row(
        f"SELECT {_COLUMNS} FROM agent_upgrades WHERE id = %s AND status = 'rolling' FOR UPDATE SKIP LOCKED",
        (number,),
        UpgradeRow,
    )


async def members(tx: Transaction, number: int) -> list[MemberRow]:
    """Its robots, by name."""
    return await tx.rows(
        """
        SELECT m.robot, m.before, m.status, m.asked_at, m.why, r.joined_at IS NOT NULL AS joined, r.session IS NOT NULL AS online,
            r.last_seen_at, r.platform, r.report -> 'agent' AS agent_state, (r.agent_wanted ->> 'attempt')::bigint AS wanted
        FROM agent_upgrade_robots m JOIN robots r ON r.name = m.robot
        WHERE m.upgrade = %s ORDER BY m.robot
        """,
        (number,),
        MemberRow,
    )


async def record(tx: Transaction, number: int, changes: Mapping[RobotId, Change], now: datetime) -> None:
    """What became of robots."""
    rows = [{"robot": robot, "status": one.status, "why": plain_text(one.why)} for robot, one in changes.items()]
    await tx.execute(
        """
        UPDATE agent_upgrade_robots m SET status = new.status, why = new.why,
            asked_at = CASE new.status WHEN 'asked' THEN %(now)s WHEN 'pending' THEN NULL ELSE m.asked_at END
        FROM jsonb_to_recordset(%(rows)s::jsonb) AS new(robot text, status text, why text)
        WHERE m.upgrade = %(upgrade)s AND m.robot = new.robot
        """,
        {"rows": json_text(rows), "upgrade": number, "now": now},
    )


async def tell(tx: Transaction, wanted: Mapping[RobotId, AgentWanted | None]) -> None:
    """These robots are to go over to that, or (None) to stay as they are. Hints `desired`."""
    await lock_all(tx, wanted)
    for robot, one in wanted.items():
        await tx.execute(
            "UPDATE robots SET agent_wanted = %s::jsonb WHERE name = %s",
            (json_text(one) if one is not None else None, robot),
        )
        await tx.notify("desired", robot)


async def end(tx: Transaction, number: int, status: UpgradeStatus, why: str, now: datetime) -> None:
    """It goes on no more."""
    await tx.execute(
        "UPDATE agent_upgrades SET status = %s, why = %s, ended_at = %s WHERE id = %s",
        (status, plain_text(why), now, number),
    )
