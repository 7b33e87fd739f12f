"""A rollback asked for by a person: what it means, what may forbid it, and what it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lekiwi_deploy.errors import BadInput, Blocked
from lekiwi_deploy.fleet.resolution import Resolved
from lekiwi_deploy.fleet.resolution import resolve as decide
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.meanings import read_candidates
from lekiwi_deploy.server.rollouts import Place, start_rollout, undo_text
from lekiwi_deploy.server.store import audit, deployments, projects, robots, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.targeting import environment_meant, robot_of
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import Activation, Environment, Identity, Resolution, RollbackAnswer, RollbackRequest
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RolloutId
from lekiwi_deploy.wire.platforms import best_key

MAX_REASON = 1000


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
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
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
    kind = "robot" if one is not None else "rollback"
    changed = not (found.row.id == current and (one is None or one.by_hand))
    rollout: RolloutId | None = None
    frozen = target.freeze is not None
    if changed:
        _check_possible(found.row, moved, force=asked.force)
    if changed and not asked.dry_run:
        rollout = await start_rollout(
            tx,
            context,
            deployment_id=found.row.id,
            environment=target.name,
            kind="robot" if one is not None else "rollback",
            by=identity.name,
            reason=asked.reason,
            robots=(one.name,) if one is not None else None,
            force=asked.force,
        )
        if one is None:
            why = f"rolled back to {found.row.id}" + (f": {asked.reason}" if asked.reason else "")
            await projects.freeze(tx, project, target.name, identity.name, context.now(), why)
            frozen = True
        await audit.record(
            tx,
            identity.name,
            f"{'robot' if one is not None else 'environment'}.rollback",
            f"project/{project}/{target.name}" + (f"/{one.name}" if one is not None else ""),
            {
                "to": found.row.id,
                "from": current,
                "selector": asked.to or "previous",
                "reason": asked.reason,
                "force": asked.force,
                "rollout": rollout,
            },
        )
    return RollbackAnswer(
        resolution=found.resolution,
        environment=target.name,
        rollout=rollout,
        changed=changed,
        frozen=frozen,
        robots=tuple(robot.name for robot in moved),
        undo=undo_text(place, kind, current, one.name if one is not None else None) if changed else "",
    )


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
