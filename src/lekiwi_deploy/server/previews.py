"""The loop of previews: who queues gets robots as they come free, and robots go home when the time is over.

Level-triggered: it reads all previews of a project, asks `fleet.previews`, carries out what that says. Pushes do the same in their own
transaction, so that a free robot is theirs at once. One transaction at a time (`membership.begin`) decides in a project.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import msgspec

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet.previews import Ended, Lendable, Lent, Settled, Wish
from lekiwi_deploy.fleet.previews import settle as decide
from lekiwi_deploy.server import lending, membership
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import deployments, previews, progress
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.previews import LeaseRow, PoolRobot, PreviewRow
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.link import Phase
from lekiwi_deploy.wire.progress import Closed
from lekiwi_deploy.wire.reasons import AwaitsRobot, Busy

LOOK_S = 2.0
_log = logging.getLogger("lekiwi.previews")


@dataclass(frozen=True, slots=True)
class State:
    """Previews of a project as they are, and what is to be done about them now."""

    rows: dict[EnvironmentName, PreviewRow]
    robots: dict[RobotId, PoolRobot]
    leases: dict[int, LeaseRow]
    settled: Settled

    def leases_of(self, environment: EnvironmentName) -> list[LeaseRow]:
        """The leases that run in a preview."""
        return [lease for lease in self.leases.values() if lease.environment == environment]

    def awaits(self, environment: EnvironmentName) -> AwaitsRobot | None:
        """What the preview waits for; None: it has what it wants, or wants nothing."""
        place = self.settled.queue.get(environment)
        if place is None:
            return None
        return AwaitsRobot(
            environment=environment,
            pool=self.rows[environment].pool,
            ahead=place.ahead,
            since=place.since,
            free_at=place.free_at,
            why=place.why,
        )


async def run(context: Context) -> None:
    """Until cancelled. Hints: `previews`, of a project."""
    with context.nudges.subscribe("previews") as hints:
        while True:
            due = await look(context)
            left = LOOK_S if due is None else (due - context.now()).total_seconds()
            await hints.wait(min(LOOK_S, max(left, 0.05)))


async def look(context: Context) -> datetime | None:
    """Settles every project that has previews; the next time that something ends by itself."""
    async with context.database.transaction() as tx:
        projects = await previews.projects_with(tx)
    dues: list[datetime] = []
    for project in projects:
        try:
            async with context.database.transaction() as tx:
                await membership.begin(tx, project)
                state = await settle(tx, context, project)
        except LekiwiError as error:
            _log.warning("previews of %s: %s", project, error.message)
            continue
        if state.settled.due is not None:
            dues.append(state.settled.due)
    return min(dues, default=None)


async def read(tx: Transaction, project: ProjectName, now: datetime) -> State:
    """Everything about the project's previews, and what is due; changes nothing."""
    rows = {row.environment: row for row in await previews.listed(tx, project)}
    pools = list({row.pool for row in rows.values()})
    robots = {robot.name: robot for robot in await previews.pool_robots(tx, project, pools)}
    leases = {lease.id: lease for lease in await previews.leases(tx, project)}
    settled = decide(
        [lendable(robot) for robot in robots.values()],
        [Lent(one.id, one.robot, one.environment, one.place) for one in leases.values()],
        [Wish(row.environment, row.pool, row.wants, row.lease, row.waits_since, row.until) for row in rows.values()],
        frozenset(await previews.frozen(tx, project)),
        now,
    )
    return State(rows, robots, leases, settled)


async def settle(tx: Transaction, context: Context, project: ProjectName) -> State:
    """Carries out what is due in the project now. The caller holds `membership.begin`."""
    now = context.now()
    state = await read(tx, project, now)
    settled = state.settled
    over: dict[EnvironmentName, list[str]] = {}
    for end in settled.ends:
        said = await lending.give_back(tx, project, state.leases[end.lease.id], end.why, now)
        over.setdefault(end.lease.environment, []).append(said)
    for grant in settled.grants:
        await lending.lend(tx, state.rows[grant.environment], grant, state.robots[grant.robot].desired, now)
    ended = {end.lease.id for end in settled.ends}
    held = Counter(lease.environment for lease in state.leases.values() if lease.id not in ended)
    held.update(grant.environment for grant in settled.grants)
    for name, row in state.rows.items():
        wish = settled.wishes[name]
        if not held[name] and wish.until is None and (row.until is not None or name in over):
            why = next((end.why for end in settled.ends if end.lease.environment == name), Ended.TIME)
            await lending.close(tx, project, name, lending.ended_text(name, why, over.get(name, [])), now)
            row = msgspec.structs.replace(row, live=None)
        await _keep(tx, context, row, wish, held=held[name])
    if settled.ends or settled.grants:
        await tx.notify("previews", project)
    return state


async def _keep(tx: Transaction, context: Context, row: PreviewRow, wish: Wish, *, held: int) -> None:
    """Notes what became of the preview, and lets go live what waited for a robot."""
    kept = msgspec.structs.replace(row, waits_since=wish.since, until=wish.until)
    if row.waits is not None and held:
        await _go_live(tx, context, row)
        kept = msgspec.structs.replace(kept, waits=None)
    idle = not held and wish.since is None and row.live is not None
    if idle and not await previews.robots_in(tx, row.project, row.environment):
        kept = msgspec.structs.replace(kept, waits_since=context.now())  # deployed to by another way than a push
        await tx.notify("previews", row.project)
    if kept != row:
        await previews.put(tx, kept)


async def _go_live(tx: Transaction, context: Context, row: PreviewRow) -> None:
    assert row.waits is not None
    found = await deployments.read(tx, row.waits)
    try:
        await start_rollout(
            tx,
            context,
            deployment_id=row.waits,
            environment=row.environment,
            kind="deploy",
            by=row.asked_by or row.opened_by,
            reason=(found.message or "").split("\n", 1)[0] if found is not None else "",
            again=True,
        )
    except LekiwiError as error:  # it failed there before, or is gone: said once, to whoever follows it
        _log.warning("%s does not go live in %s: %s", row.waits, row.environment, error.message)
        await progress.append(tx, row.waits, [Closed("built", error.message)], context.now())


def lendable(robot: PoolRobot) -> Lendable:
    """The robot as the decision looks at it."""
    report = robot.report
    running = report.running if report is not None else None
    return Lendable(
        robot.name,
        robot.environment,
        unfit=_unfit(robot),
        healthy=running.healthy if running is not None else None,
        idle=report is None or report.phase is Phase.IDLE,
    )


def _unfit(robot: PoolRobot) -> str:
    report = robot.report
    checks = (
        (not robot.joined, "not joined yet"),
        (robot.cloned, "refused (two machines have its key)"),
        (not robot.online, "offline"),
        (robot.drained, "drained"),
        (robot.unplaced, "without a place"),
        (robot.pinned or (report is not None and report.pin is not None), "pinned by hand"),
        (report is not None and any(isinstance(one, Busy) for one in report.waiting), "busy"),
    )
    return next((why for is_so, why in checks if is_so), "")
