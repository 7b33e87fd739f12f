"""Why robots do not run what is wanted of them: out of what is recorded of them, in order, with since when and what would clear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.server import holding, membership
from lekiwi_deploy.server.past import of_deployment, of_robot, of_rollouts
from lekiwi_deploy.server.store import deployments, events, projects, robots, rollouts, waits
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.events import EventRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.server.views import robot_view
from lekiwi_deploy.wire.api import Deployment, DeploymentStatus, Environment, Robot
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RobotId
from lekiwi_deploy.wire.link import ServiceState
from lekiwi_deploy.wire.reasons import Overdue, Reason, Starting, key
from lekiwi_deploy.wire.why import HeldBack, RobotEvent, Why, Whys

_CONFIRMED = ("healthy", "good")


async def why_robot(
    tx: Transaction, row: RobotRow, *, recent: int, past: int = 0, since: datetime | None = None
) -> Why:
    """One robot, with its `recent` latest events and the `past` latest spans that held it back before; `since`: those that lasted until then."""
    (why,) = await _whys(tx, [row])
    found = await events.newest(tx, row.name, recent) if recent else []
    before = await of_robot(tx, row.name, past, since) if past else ()
    placed = await membership.why_there(tx, row.project, row.name)
    return msgspec.structs.replace(why, events=tuple(map(event_view, found)), past=before, placed=placed)


async def why_environment(tx: Transaction, project: ProjectName, environment: str | None, now: datetime) -> Whys:
    """Every robot of the project (or of one environment) that is not where it should be, and what holds what is to go live there."""
    every = (await projects.read(tx, project)).environments
    named = await projects.environment(tx, project, environment) if environment is not None else None
    known = await _whys(tx, await robots.listed(tx, project, environment))
    astray = tuple(why for why in known if not why.there)
    where = environment or project
    text = f"every robot of {where} runs what is wanted" if known and not astray else ""
    held = [
        one
        for place in (every if named is None else (named,))
        for one in await holding.of_environment(tx, project, place, now)
    ]
    return Whys(
        project=project,
        environment=named.name if named is not None else None,
        text=text if known else f"{where} has no robots",
        total=len(known),
        robots=astray,
        reasons=tuple(held),
    )


async def why_deployment(tx: Transaction, shown: Deployment) -> Whys:
    """Why a deployment is not live everywhere, and what held it back. `shown`: as the API shows it, with what it waits for."""
    there = await projects.environments(tx, shown.project, shown.environment) if shown.environment else []
    known = there[0] if there else None  # a preview goes with its branch
    rollout = await rollouts.read(tx, shown.rollout) if shown.rollout is not None else None
    held = await holding.of_deployment(tx, shown, known, rollout)
    past = await of_deployment(tx, shown.id)
    if rollout is not None:
        found = await why_rollout(tx, rollout)
        return msgspec.structs.replace(found, text=_of_deployment(shown, found), reasons=held, past=past)
    return Whys(
        project=shown.project,
        environment=shown.environment,
        text=_of_deployment(shown, None, known),
        total=0,
        robots=(),
        reasons=held,
        deployment=shown.id,
        past=past,
    )


async def why_rollout(tx: Transaction, rollout: RolloutRow) -> Whys:
    """Which robots of a rollout do not run its deployment, and why; of one that something newer replaced nobody is told."""
    inside = {one.robot: one for one in await rollouts.robots(tx, rollout.id)}
    rows = [row for row in await robots.listed(tx, rollout.project, rollout.environment) if row.name in inside]
    followed = [row for row in rows if row.live_rollout == rollout.id or row.desired == rollout.deployment]
    astray = [row for row in followed if inside[row.name].status not in _CONFIRMED or row.cloned_at is not None]
    return Whys(
        project=rollout.project,
        environment=rollout.environment,
        text=_came_to(rollout) + _newer(rows, rollout),
        total=rollout.total,
        robots=tuple(why for why in await _whys(tx, astray) if not why.there),
        reasons=holding.of_rollout(rollout),
        deployment=rollout.deployment,
        rollout=rollout.id,
        past=await of_rollouts(tx, [rollout.id]),
    )


def event_view(row: EventRow) -> RobotEvent:
    """An event as the API shows it."""
    body = row.body
    return RobotEvent(
        seq=row.seq,
        at=row.at,
        told_at=row.stored_at,
        kind=body.kind,
        text=body.text,
        deployment=body.deployment,
        service=body.service,
    )


async def _whys(tx: Transaction, rows: Sequence[RobotRow]) -> list[Why]:
    shown = [(row, robot_view(row)) for row in rows]
    named = {id for _, robot in shown for id in (_wanted(robot), _running(robot)) if id is not None}
    named |= {row.live for row in rows if row.live is not None}
    versions = {row.id: row.version for row in await deployments.read_many(tx, sorted(named))}
    limits: dict[str, Mapping[str, float]] = {}
    for project in {row.project for row in rows}:
        limits[project] = {one.name: one.defer_limit_s for one in await projects.environments(tx, project)}
    since = await waits.open_since(tx, [row.name for row, robot in shown if robot.waiting])
    return [_why(row, robot, versions, limits[row.project][row.environment], since) for row, robot in shown]


def _why(
    row: RobotRow,
    robot: Robot,
    versions: Mapping[DeploymentId, str],
    limit_s: float,
    since: Mapping[tuple[RobotId, str], datetime],
) -> Why:
    running = robot.running
    wanted = robot.pin.deployment if robot.pin is not None else row.live
    reasons = robot.waiting or _unwell(robot, wanted)
    overdue = next((one for one in reasons if isinstance(one, Overdue)), None)
    runs_it = wanted is None or (running is not None and running.deployment == wanted)
    healthy = running.healthy if running is not None else None
    return Why(
        robot=row.name,
        project=row.project,
        environment=row.environment,
        online=row.online,
        last_seen_at=row.last_seen_at,
        there=runs_it and healthy is not False and not reasons,
        phase=robot.phase,
        healthy=healthy,
        running=running.deployment if running is not None else None,
        running_version=versions.get(running.deployment, "") if running is not None else "",
        wanted=wanted,
        wanted_version=versions.get(wanted, "") if wanted is not None else "",
        reasons=tuple(held_back(reason, row, since.get((row.name, key(reason)))) for reason in reasons),
        defer_limit_s=limit_s,
        deferring_since=row.deferring_since,
        overdue_since=None if overdue is None else overdue.since + timedelta(seconds=overdue.limit_s),
    )


def held_back(reason: Reason, row: RobotRow, noted: datetime | None) -> HeldBack:
    """A reason of a robot as it is told. `noted`: when the conductor saw it first; the robot's own report, or what the reason itself says, goes
    before."""
    said = row.waiting_since.get(key(reason)) or getattr(reason, "since", None) or getattr(reason, "at", None)
    return holding.told(reason, said or noted, row.name)


def _unwell(robot: Robot, wanted: str | None) -> tuple[Reason, ...]:
    """It runs what is wanted and nothing holds it back, yet some service is not ready."""
    if robot.running is None or robot.running.deployment != wanted or robot.running.healthy:
        return ()
    late = tuple(service.name for service in robot.services if service.state is not ServiceState.READY)
    return (Starting(late),) if late else ()


def _wanted(robot: Robot) -> str | None:
    return robot.pin.deployment if robot.pin is not None else robot.desired


def _running(robot: Robot) -> str | None:
    return robot.running.deployment if robot.running is not None else None


def _came_to(rollout: RolloutRow) -> str:
    if rollout.course.stopped is not None:
        return f"it stopped ({rollout.course.stopped}) when {rollout.live} of {rollout.total} robots ran it"
    return f"{rollout.live} of {rollout.total} robots run it"


def _newer(rows: Sequence[RobotRow], rollout: RolloutRow) -> str:
    """What took its place."""
    live = {row.live for row in rows if row.live_rollout != rollout.id}
    replaced = rollout.kind != "robot" and live and all(row.live_rollout != rollout.id for row in rows)
    return f"; {', '.join(sorted(filter(None, live)))} is live in {rollout.environment} now" if replaced else ""


def _of_deployment(shown: Deployment, rollout: Whys | None, environment: Environment | None = None) -> str:
    match shown.status:
        case DeploymentStatus.QUEUED:
            return "it is queued: no builder has taken it yet"
        case DeploymentStatus.BUILDING:
            return "it is being built"
        case DeploymentStatus.FAILED if rollout is None:
            return f"its build failed: {(shown.error or 'no reason given').splitlines()[0]}"
        case DeploymentStatus.CANCELED:
            return "it was canceled"
        case DeploymentStatus.BUILT if environment is None and shown.environment is not None and rollout is None:
            return f"it is built; its environment {shown.environment} was removed"
        case DeploymentStatus.BUILT if environment is not None and environment.freeze is not None:
            return "it is built, and its environment is frozen"
        case DeploymentStatus.BUILT if shown.waiting:
            return "it is built, and waits"
        case DeploymentStatus.BUILT if environment is not None and not environment.auto_deploy:
            return f"it is built; auto_deploy of {environment.name} is off, so it waits for somebody to deploy it"
        case DeploymentStatus.BUILT:
            return "it is built; it goes live when its branch points at it"
        case _:
            return rollout.text if rollout is not None else f"it is {shown.status.value.replace('_', ' ')}"
