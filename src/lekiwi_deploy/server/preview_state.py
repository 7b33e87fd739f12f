"""Previews of a project as they are now, with their queue: for the loop that settles them and for everybody who looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lekiwi_deploy.fleet.previews import Lendable, Lent, Settled, Wish, settle
from lekiwi_deploy.server.store import previews
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.previews import LeaseRow, PoolRobot, PreviewRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.link import Phase
from lekiwi_deploy.wire.reasons import AwaitsRobot, Busy


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

    @property
    def is_due(self) -> bool:
        """Whether there is anything to carry out, or to note."""
        if self.settled.ends or self.settled.grants:
            return True
        return any(self._differs(row) for row in self.rows.values())

    def _differs(self, row: PreviewRow) -> bool:
        wish = self.settled.wishes[row.environment]
        if (wish.since, wish.until) != (row.waits_since, row.until):
            return True
        held = bool(self.leases_of(row.environment))
        return (held and row.waits is not None) or (not held and wish.since is None and row.live is not None)

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


async def read_state(tx: Transaction, project: ProjectName, now: datetime) -> State:
    """Everything about the project's previews, and what is due; changes nothing."""
    rows = {row.environment: row for row in await previews.listed(tx, project)}
    pools = list({row.pool for row in rows.values()})
    robots = {robot.name: robot for robot in await previews.pool_robots(tx, project, pools)}
    leases = {lease.id: lease for lease in await previews.leases(tx, project)}
    settled = settle(
        [lendable(robot) for robot in robots.values()],
        [Lent(one.id, one.robot, one.environment, one.place) for one in leases.values()],
        [Wish(row.environment, row.pool, row.wants, row.lease, row.waits_since, row.until) for row in rows.values()],
        frozenset(await previews.frozen(tx, project)),
        now,
    )
    return State(rows, robots, leases, settled)


async def awaiting_robots(tx: Transaction, project: ProjectName, now: datetime) -> dict[DeploymentId, AwaitsRobot]:
    """What deployments wait for that go live as soon as their preview has a robot."""
    if not any(row.waits is not None for row in await previews.listed(tx, project)):
        return {}
    state = await read_state(tx, project, now)
    found = {row.waits: state.awaits(name) for name, row in state.rows.items() if row.waits is not None}
    return {id: awaits for id, awaits in found.items() if awaits is not None}


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
