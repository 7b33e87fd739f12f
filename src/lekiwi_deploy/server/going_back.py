"""A rollback asked for by a person: what it means, what may forbid it, and what it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from lekiwi_deploy.errors import BadInput, Blocked
from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.fleet.resolution import Resolved
from lekiwi_deploy.fleet.resolution import resolve as decide
from lekiwi_deploy.fleet.undoing import Frost, LiveAgain, RobotAgain
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.forecasting import Wanted, forecast
from lekiwi_deploy.server.meanings import read_candidates
from lekiwi_deploy.server.redeploying import redeploy
from lekiwi_deploy.server.rollouts import Kind, Place, start_rollout, undo_text
from lekiwi_deploy.server.store import audit, deployments, projects, robots, rollouts, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.targeting import environment_meant, robot_of
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import Environment, Identity
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RolloutId
from lekiwi_deploy.wire.platforms import best_key
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.rollback import Activation, Resolution, RollbackAnswer, RollbackRequest

MAX_REASON = 1000
replace = msgspec.structs.replace


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a selector means, as the API shows it, and the deployment itself."""

    resolution: Resolution
    row: DeploymentRow


async def meaning(
    tx: Transaction,
    context: Context,
    environment: Environment,
    selector: str | None,
    *,
    current: DeploymentId | None,
    utc_offset_min: int,
) -> Meaning:
    """What `selector` means in `environment` for somebody who runs `current` now. Raises as `fleet.resolution.resolve`."""
    known = await read_candidates(tx, environment.project, environment.name, selector=selector, current=current)
    found = decide(selector, known, context.now(), utc_offset_min)
    (row,) = await deployments.read_many(tx, [found.deployment.id])
    (view,) = await deployment_views(tx, context, [row])
    resolution = Resolution(
        selector=selector or "previous", deployment=view, activation=_activation(found), text=found.text
    )
    return Meaning(resolution, row)


async def go_back(
    tx: Transaction, context: Context, identity: Identity, project: ProjectName, asked: RollbackRequest
) -> RollbackAnswer:
    """Carries out a rollback of an environment, which freezes it, or of one robot, which pins it there.

    Raises as `meaning`, and `Blocked` when it was not built for some robot or failed on all of them (unless forced).
    """
    _check(asked)
    one: RobotRow | None = None
    if asked.robot is not None:
        named = EnvironmentName(asked.environment) if asked.environment is not None else None
        one = await robot_of(tx, project, named, asked.robot)
    target = await environment_meant(tx, project, one.environment if one else asked.environment, "lekiwi rollback")
    await rollouts.lock_environment(tx, project, target.name)
    target = await projects.environment(tx, project, target.name)
    current = _current(one) if one is not None else target.live
    found = await meaning(tx, context, target, asked.to, current=current, utc_offset_min=asked.utc_offset_min)
    moved = [one] if one is not None else await robots.listed(tx, project, target.name)
    place = Place(project, target.name, len(await robots.environments_with_robots(tx, project)))
    kind: Kind = "robot" if one is not None else "rollback"
    changed = not (found.row.id == current and (one is None or one.by_hand))
    if changed:
        _check_possible(found.row, moved, force=asked.force)
    answer = RollbackAnswer(
        resolution=found.resolution,
        environment=target.name,
        rollout=None,
        changed=changed,
        frozen=target.freeze is not None,
        robots=tuple(robot.name for robot in moved),
        undo=undo_text(place, kind, current, one.name if one is not None else None) if changed else "",
        there=sum(_runs(robot, found.row) for robot in moved),
    )
    if asked.dry_run:
        return await _foretold(tx, context, asked, answer, found.row, target)
    if not changed:
        return answer
    live, rollout = await _start(tx, context, identity, asked, kind, found.row, target, one)
    if one is None:
        why = f"rolled back to {live}" + (f": {asked.reason}" if asked.reason else "")
        await projects.freeze(tx, project, target.name, identity.name, context.now(), why)
    seq = await audit.record(
        tx,
        identity.name,
        f"{'robot' if one is not None else 'environment'}.rollback",
        f"project/{project}/{target.name}" + (f"/{one.name}" if one is not None else ""),
        {
            "to": live,
            "from": current,
            "selector": asked.to or "previous",
            "reason": asked.reason,
            "force": asked.force,
            "gradual": asked.gradual,
            "keep_env": asked.keep_env,
            "rollout": rollout,
        },
        reason=asked.reason,
        undo=_inverse(target, one, live),
    )
    return replace(
        answer,
        rollout=rollout,
        frozen=answer.frozen or one is None,
        deployment=live if live != found.row.id else None,
        undo=answer.undo if one is not None else f"lekiwi undo {seq}",
    )


def _check(asked: RollbackRequest) -> None:
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    if asked.robot is not None and (asked.gradual or asked.keep_env):
        raise BadInput("--gradual and --keep-env are of a whole environment: leave --robot out")


async def _start(
    tx: Transaction,
    context: Context,
    identity: Identity,
    asked: RollbackRequest,
    kind: Kind,
    row: DeploymentRow,
    target: Environment,
    one: RobotRow | None,
) -> tuple[DeploymentId, RolloutId]:
    """What becomes live, and its rollout. With the variables of now it is a new deployment, where others are bound to that one."""
    steps = (target.policy or Policy()).steps if asked.gradual else None
    if asked.keep_env and await variables.bound(tx, target.project, target.name, row.id) is not None:
        again = await redeploy(
            tx,
            context,
            of=row.id,
            environment=target.name,
            by=identity.name,
            reason=asked.reason,
            force=asked.force,
            going_back=True,
            steps=steps,
        )
        assert again.rollout is not None
        return again.row.id, again.rollout
    rollout = await start_rollout(
        tx,
        context,
        deployment_id=row.id,
        environment=target.name,
        kind=kind,
        by=identity.name,
        reason=asked.reason,
        robots=(one.name,) if one is not None else None,
        force=asked.force,
        steps=steps,
    )
    return row.id, rollout


async def _foretold(
    tx: Transaction,
    context: Context,
    asked: RollbackRequest,
    answer: RollbackAnswer,
    row: DeploymentRow,
    target: Environment,
) -> RollbackAnswer:
    wanted = Wanted(
        environment=target,
        row=row,
        way=Way.ROLLBACK,
        force=asked.force,
        gradual=asked.gradual,
        robot=answer.robots[0] if asked.robot is not None else None,
        newest=asked.keep_env,
    )
    plan = await forecast(tx, context, wanted)
    return replace(answer, forecast=plan, there=plan.there)


def _inverse(target: Environment, one: RobotRow | None, live: DeploymentId) -> LiveAgain | RobotAgain:
    if one is not None:
        return RobotAgain(robot=one.name, before=one.desired if one.by_hand else None, after=live)
    freeze = target.freeze
    frost = Frost(freeze.by, freeze.at, freeze.why) if freeze is not None else None
    return LiveAgain(environment=target.name, before=target.live, after=live, frost=frost)


def _runs(robot: RobotRow, row: DeploymentRow) -> bool:
    """Whether it runs that content already, and well."""
    running = robot.report.running if robot.report is not None else None
    return running is not None and running.healthy and running.digest == row.package_hash


def _current(robot: RobotRow) -> DeploymentId | None:
    """What the robot is to run; what it runs when it was taken back on the robot itself."""
    if robot.report is not None and robot.report.pin is not None and not robot.by_hand:
        return robot.report.pin.deployment
    return robot.desired


def _check_possible(row: DeploymentRow, moved: list[RobotRow], *, force: bool) -> None:
    platforms = row.metadata.platforms
    unfit = [
        robot.name
        for robot in moved
        if platforms and robot.platform is not None and best_key(platforms, robot.platform) is None
    ]
    bad = [robot.name for robot in moved if robot.report is not None and row.id in robot.report.quarantined]
    if force or not (unfit or (bad and len(bad) == len(moved))):
        return
    why = f"has nothing for the platform of {_named(unfit)}" if unfit else f"failed on {_named(bad)}"
    raise Blocked(
        f"{row.id} {row.version} {why}: --force goes there all the same",
        next=(f"lekiwi rollback --to={row.id} --force",),
        details={"not_built_for": unfit, "quarantined_on": bad},
    )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _activation(found: Resolved) -> Activation | None:
    interval = found.interval
    if interval is None:
        return None
    return Activation(
        deployment=interval.deployment,
        version=found.deployment.version,
        commit=found.deployment.commit,
        since=interval.since,
        until=interval.until,
        good=interval.good,
        total=interval.total,
    )
