"""Robots go to previews and come home again. Who gets which is decided in `fleet.previews`; here it is carried out, in the caller's transaction.

The caller holds `membership.begin`: whoever moves robots between environments does.
"""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.fleet.previews import Ended, Grant, WayHome, way_home
from lekiwi_deploy.server import membership
from lekiwi_deploy.server.overdue import SERVER
from lekiwi_deploy.server.store import activations, audit, conducting, previews, progress, quarantines, robots, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.previews import LeaseRow, PreviewRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName
from lekiwi_deploy.wire.progress import Note, RolloutFinished
from lekiwi_deploy.wire.reasons import sentence


async def lend(tx: Transaction, row: PreviewRow, grant: Grant, wanted: DeploymentId | None, now: datetime) -> None:
    """The robot is the preview's from now on. `wanted`: what was wanted of it until now. Whoever follows what waits for it is told."""
    await previews.begin_lease(
        tx,
        row.project,
        grant.robot,
        environment=row.environment,
        home=grant.home,
        before=wanted,
        since=now,
        until=grant.until,
    )
    await membership.move(tx, row.project, {grant.robot: row.environment})
    by = row.asked_by or row.opened_by
    detail = {"home": grant.home, "until": grant.until.isoformat(), "branch": row.branch, "before": wanted}
    await audit.record(tx, by, "preview.lease", f"project/{row.project}/{row.environment}/{grant.robot}", detail)
    if row.waits is not None:
        await progress.append(tx, row.waits, [Note(lent_text(grant))], now)


def lent_text(grant: Grant) -> str:
    """`pr-12 has kiwi-07 of preview-robots until 21 Aug 18:02 UTC`."""
    return f"{grant.environment} has {grant.robot} of {grant.home} until {grant.until:%d %b %H:%M} UTC"


async def give_back(
    tx: Transaction,
    project: ProjectName,
    lease: LeaseRow,
    why: str,
    now: datetime,
    *,
    by: str = SERVER,
    reason: str = "",
) -> str:
    """Ends the lease; the robot goes home and is given there what it ran before, or what is live now. One line for whoever asked. A robot that a
    person moved stays where it was put."""
    await previews.end_lease(tx, lease.id, why, now)
    where = f"project/{project}/{lease.environment}/{lease.robot}"
    if lease.place != lease.environment:
        text = f"{lease.robot} stays in {lease.place}"
        await audit.record(tx, by, "preview.return", where, {"home": lease.place, "why": why}, reason=reason)
        return text
    home = lease.home
    found = await previews.home(tx, project, home)
    if found is None:  # it is gone: the robot stays, with what it runs, where a person will find it
        detail = {"home": None, "gone": home, "why": why}
        await audit.record(tx, by, "preview.return", where, detail, reason=reason)
        return f"{lease.robot} stays in {lease.environment}: its environment {home} is gone"
    await membership.move(tx, project, {lease.robot: home})
    if moved := await membership.settle(
        tx, project, [lease.robot]
    ):  # its labels, or what environments ask for, changed meanwhile
        _, there = moved[lease.robot]
        await audit.record(tx, by, "preview.return", where, {"home": there, "why": why}, reason=reason)
        return f"{lease.robot} goes to {there}, where its labels put it now"
    robot = await robots.read(tx, lease.robot)
    way = WayHome(None, follows=False)
    keeps = " and keeps what it runs"
    if robot is not None and robot.out is not None:
        keeps += f": {sentence(robot.out)}"
    else:
        way = way_home(
            live=found.live,
            rolling=found.status == RolloutStatus.ROLLING,
            before=lease.before,
            bad=await _bad(tx, project, home, robot, found.live, lease.before),
        )
        await _give(tx, project, home, lease, way, now)
        keeps += ": nothing is live there" if found.live is None else " until its turn comes"
    detail = {"home": home, "deployment": way.deployment, "why": why}
    await audit.record(tx, by, "preview.return", where, detail, reason=reason)
    return f"{lease.robot} goes back to {home}" + (f" and {way.deployment}" if way.deployment is not None else keeps)


async def _bad(
    tx: Transaction,
    project: ProjectName,
    home: EnvironmentName,
    robot: RobotRow | None,
    *given: DeploymentId | None,
) -> frozenset[DeploymentId]:
    """Which of what it may be given failed there, or on it."""
    own = robot.report.quarantined if robot is not None and robot.report is not None else ()
    asked = {one for one in given if one is not None}
    there = [one for one in asked if await quarantines.holding(tx, project, home, one) is not None]
    return frozenset((*own, *there))


async def _give(
    tx: Transaction, project: ProjectName, home: EnvironmentName, lease: LeaseRow, way: WayHome, now: datetime
) -> None:
    """At once and at any time, as every way back: no step, no window keeps somebody's preview on a robot that is not theirs any more."""
    if way.deployment is None:
        return
    found = await previews.home(tx, project, home)
    rollout = found.live_rollout if found is not None and way.follows else None
    if rollout is not None:
        await rollouts.add_robots(tx, rollout, project, home, [lease.robot])
    await conducting.assign(
        tx,
        rollout or "",
        [lease.robot],
        way.deployment,
        by_hand=None,
        forced_by=None,
        anytime=True,
        step=0,
        now=now,
    )
    if rollout is not None:
        await rollouts.resumed(tx, rollout, lease.robot, now)


async def close(tx: Transaction, project: ProjectName, environment: EnvironmentName, text: str, now: datetime) -> None:
    """The preview has no robots any more: what was under way there ends, nothing is live. `text`: why, for those who follow it."""
    if await previews.robots_in(tx, project, environment):
        return
    for one in await rollouts.open_in(tx, project, environment):
        await rollouts.finish(tx, one.id, RolloutStatus.CANCELED, now)
        finished = RolloutFinished(
            status=RolloutStatus.CANCELED,
            live=0,
            pending=0,
            failed=one.failed,
            total=one.total,
            seconds=(now - one.created_at).total_seconds(),
            undo="",
            text=text,
        )
        await progress.append(tx, one.id, [finished], now, close=True)
    await rollouts.set_live(tx, project, environment, None, None)
    await activations.close_open(tx, project, environment, now)


async def end(
    tx: Transaction, row: PreviewRow, why: Ended, now: datetime, *, by: str = SERVER, reason: str = ""
) -> list[str]:
    """Ends a preview and forgets its environment; each robot goes home. A line for each of those. Raises `Conflict` when it has robots that were
    not lent to it."""
    project, name = row.project, row.environment
    leases = await previews.leases(tx, project, name)
    returned = [await give_back(tx, project, lease, why, now, by=by, reason=reason) for lease in leases]
    if await previews.robots_in(tx, project, name):
        raise Conflict(
            f"the environment {name} has robots that were not lent to it: move them first",
            next=(f"lekiwi robots list -e {name}", f"lekiwi robots move ROBOT {row.pool}"),
        )
    await close(tx, project, name, ended_text(name, why, returned), now)
    await previews.drop_waiting(tx, project, name)
    await previews.remove(tx, project, name)
    detail = {"branch": row.branch, "why": why, "returned": returned}
    await audit.record(tx, by, "preview.remove", f"project/{project}/{name}", detail, reason=reason)
    await tx.notify("previews", project)
    return returned


def ended_text(environment: EnvironmentName, why: Ended | str, returned: list[str]) -> str:
    """`the preview pr-12 is over (its time is over): kiwi-07 goes back to preview-robots and dep_…`."""
    back = f": {'; '.join(returned)}" if returned else ""
    return f"the preview {environment} is over ({why}){back}"
