"""Advances upgrades of robots' agents: read, plan (`fleet.agent_upgrade`), write, in one transaction a step.

Level-triggered: a step may run twice or late. There are few upgrades and they take minutes, so while one goes on all that go on are looked
at every second.
"""

from __future__ import annotations

import logging

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet.agent_upgrade import Change, Member, Plan, plan
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import agent_upgrades, audit
from lekiwi_deploy.server.store.agent_upgrades import MemberRow, UpgradeRow
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.agents import AgentBundle, UpgradeRobotStatus, UpgradeStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentWanted

LOOK_S = 1.0
REST_S = 60.0
_Bundles = dict[str, AgentBundle | LekiwiError]
_log = logging.getLogger("lekiwi.agents")


async def run(context: Context) -> None:
    """Advances upgrades for ever."""
    said = ""
    with context.nudges.subscribe("agents") as hints:
        while True:
            going_on, trouble = await advance_all(context)
            if trouble and trouble != said:
                _log.warning("robots' agents are not upgraded: %s", trouble)
            said = trouble
            await hints.wait(LOOK_S if going_on else REST_S)


async def advance_all(context: Context) -> tuple[bool, str]:
    """A step of each upgrade that goes on; whether there are any, and what is in the way."""
    trouble = ""
    async with context.database.transaction() as tx:
        numbers = await agent_upgrades.rolling(tx)
    for number in numbers:
        try:
            await advance(context, number)
        except LekiwiError as error:
            trouble = error.message
    return bool(numbers), trouble


async def advance(context: Context, number: int) -> None:
    """One step of one upgrade."""
    release = await context.agent_bundles.release()
    bundles = await _bundles(context, number)
    async with context.database.transaction() as tx:
        upgrade = await agent_upgrades.claim(tx, number)
        if upgrade is None:
            return
        rows = {row.robot: row for row in await agent_upgrades.members(tx, number)}
        if upgrade.release != release.release:
            why = f"this server gives {release.release} now"
            await agent_upgrades.end(tx, number, UpgradeStatus.REPLACED, why, context.now())
            await _tell_nothing(tx, number, rows)
            return
        decided = plan(number, upgrade.release, [_member(row) for row in rows.values()], context.now())
        await _write(tx, context, upgrade, rows, decided, bundles)


async def _bundles(context: Context, number: int) -> _Bundles:
    """The archives for its robots by platform, or why there is none. Made before the step, since it may take minutes."""
    async with context.database.transaction() as tx:
        rows = await agent_upgrades.members(tx, number)
    waiting = (row for row in rows if row.status is UpgradeRobotStatus.PENDING and row.online)
    found: _Bundles = {}
    for key in sorted({row.platform.key for row in waiting if row.platform is not None}):
        try:
            found[key], _ = await context.agent_bundles.bundle(key)
        except LekiwiError as error:
            found[key] = error
    return found


async def _write(
    tx: Transaction,
    context: Context,
    upgrade: UpgradeRow,
    rows: dict[RobotId, MemberRow],
    decided: Plan,
    bundles: _Bundles,
) -> None:
    changes, wanted = dict(decided.changes), dict[RobotId, AgentWanted | None]()
    for robot, change in decided.changes.items():
        platform = rows[robot].platform
        bundle = bundles.get(platform.key) if platform is not None else None
        if change.status is not UpgradeRobotStatus.ASKED:
            if rows[robot].wanted == upgrade.id:
                wanted[robot] = None  # done, failed, or not to be tried any more
        elif isinstance(bundle, AgentBundle):
            wanted[robot] = _wanted(upgrade, rows[robot], bundle)
        elif bundle is not None:
            changes[robot] = Change(UpgradeRobotStatus.SKIPPED, f"there is no agent for it: {bundle.message}")
        else:
            del changes[robot]  # it came online just now: the next step asks it
        if change.status in (UpgradeRobotStatus.DONE, UpgradeRobotStatus.FAILED):
            detail = {"release": upgrade.release, "before": rows[robot].before, "why": change.why}
            await audit.record(tx, "server", f"agent.{change.status}", f"robot/{robot}", detail)
    if changes:
        await agent_upgrades.record(tx, upgrade.id, changes, context.now())
    if wanted:
        await agent_upgrades.tell(tx, wanted)
    if decided.status is not UpgradeStatus.ROLLING:
        await agent_upgrades.end(tx, upgrade.id, decided.status, decided.why, context.now())


async def _tell_nothing(tx: Transaction, number: int, rows: dict[RobotId, MemberRow]) -> None:
    told = {robot: None for robot, row in rows.items() if row.wanted == number}
    if told:
        await agent_upgrades.tell(tx, told)


def _wanted(upgrade: UpgradeRow, row: MemberRow, bundle: AgentBundle) -> AgentWanted:
    assert row.platform is not None
    return AgentWanted(
        release=bundle.release,
        digest=bundle.digest,
        size=bundle.size,
        path=f"/agent/{row.platform.key}/bundle",
        attempt=upgrade.id,
        again=upgrade.again,
    )


def _member(row: MemberRow) -> Member:
    return Member(
        robot=row.robot,
        status=row.status,
        asked_at=row.asked_at,
        joined=row.joined,
        online=row.online,
        last_seen_at=row.last_seen_at,
        agent=row.agent_state,
    )
