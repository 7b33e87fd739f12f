"""Starting a rollout: what becomes live, what that replaces, and what a robot is taken to by hand.

Nothing is sent to robots here: the conductor assigns, in its own transaction, and hints at the link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lekiwi_deploy.errors import Blocked, Conflict, NotFound
from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import activations, conducting, deployments, progress, quarantines, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId, base62
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.progress import RolloutFinished, RolloutStarted

Kind = Literal["deploy", "rollback", "robot"]


@dataclass(frozen=True, slots=True)
class Place:
    """An environment, and how many environments with robots its project has (commands name it when there are more)."""

    project: ProjectName
    environment: EnvironmentName
    environments: int = 1


def undo_text(place: Place, kind: str, previous: DeploymentId | None, robot: RobotId | None = None) -> str:
    """The command that takes back a rollout of `kind` that replaced `previous`; empty when there is nothing to go back to."""
    option = f" -e {place.environment}" if place.environments > 1 else ""
    if kind == "robot":
        return f"lekiwi robots resume {robot}"
    if kind == "rollback":
        return f"lekiwi rollback{option} --to={previous}" if previous else ""
    return f"lekiwi rollback{option}" if previous else ""


async def start_rollout(
    tx: Transaction,
    context: Context,
    *,
    deployment_id: DeploymentId,
    environment: EnvironmentName,
    kind: Kind,
    by: str,
    reason: str,
    robots: tuple[RobotId, ...] | None = None,
    force: bool = False,
    keep: tuple[RobotId, ...] = (),
) -> RolloutId:
    """Makes `deployment_id` what the environment's robots are to run and returns the rollout that brings it there.

    `kind` deploy happens once per deployment and environment: again, it returns the same rollout. `robot` moves only `robots`, pins
    them there, and leaves what is live as it is. `force`: also where the deployment is quarantined. `keep`: robots that stay as they are.
    Raises `NotFound` (no such deployment, environment), `Conflict` (not built) and `Blocked` (it failed there before).
    """
    deployment = await deployments.read(tx, deployment_id)
    if deployment is None:
        raise NotFound(f"there is no deployment {deployment_id}")
    if deployment.status != "built" or deployment.package_hash is None:
        raise Conflict(f"{deployment_id} is {deployment.status}, not built: nothing can run it yet")
    live = await rollouts.lock_environment(tx, deployment.project, environment)
    if live is None:
        raise NotFound(f"project {deployment.project!r} has no environment {environment!r}")
    key = f"deploy {deployment_id} {environment}" if kind == "deploy" else None
    if key is not None and (there := await rollouts.by_key(tx, key)) is not None:
        return there
    now = context.now()
    if kind != "robot":
        await _check_quarantine(tx, deployment, environment, by, now, force=force or deployment.force)
    id = RolloutId(f"rol_{base62(context.random(16), 8)}")
    await rollouts.insert(
        tx,
        id=id,
        project=deployment.project,
        environment=environment,
        deployment=deployment_id,
        kind=kind,
        by=by,
        reason=reason,
        force=force or deployment.force,
        previous=live.live,
        now=now,
        key=key,
        course=_course(live.policy) if kind == "deploy" else Course(),
    )
    await _supersede(tx, deployment.project, environment, None if kind != "robot" else robots or (), now, but=id)
    if keep:
        await rollouts.keep_robots(tx, id, keep)
    total = await rollouts.add_robots(tx, id, deployment.project, environment, robots if kind == "robot" else None)
    await rollouts.set_counts(tx, id, total=total, live=0, pending=total, failed=0)
    if kind != "robot":
        await rollouts.set_live(tx, deployment.project, environment, deployment_id, id)
        await activations.open_one(tx, deployment.project, environment, deployment_id, id, now, total)
        await deployments.set_rollout(tx, deployment_id, id)
        started = RolloutStarted(id, deployment_id, deployment.version, environment, total, source_of(deployment))
        await progress.append(tx, deployment_id, [started], now)
    await tx.notify("rollout", id)
    return id


def _course(policy: Policy | None) -> Course:
    """How a new deployment reaches robots under this policy, as it is now: a later change does not touch rollouts that are under way."""
    policy = policy or Policy()
    return Course(steps=policy.steps, in_flight=policy.in_flight, max_failures=policy.max_failures)


async def _check_quarantine(
    tx: Transaction, deployment: DeploymentRow, environment: str, by: str, now: datetime, *, force: bool
) -> None:
    held = await quarantines.holding(tx, deployment.project, environment, deployment.id)
    if held is None:
        return
    if force:
        await quarantines.lift(tx, deployment.project, environment, deployment.id, by, now)
        return
    raise Blocked(
        f"{deployment.id} {deployment.version} failed in {environment} before: {held.why}. --force tries it again",
        next=(f"lekiwi rollback -e {environment} --to={deployment.id} --force",),
        details={"deployment": deployment.id, "why": held.why},
    )


def source_of(deployment: DeploymentRow) -> str:
    """`main@8b71ff7`: where a deployment came from; empty when it was a plain folder."""
    commit = (deployment.commit_sha or "")[:7]
    if deployment.branch and commit:
        return f"{deployment.branch}@{commit}"
    return deployment.branch or commit


async def _supersede(
    tx: Transaction, project: str, environment: str, robots: Sequence[RobotId] | None, now: datetime, *, but: str
) -> None:
    """Ends the open rollouts that a new one replaces: those of the environment, or (`robots`) those of these robots alone."""
    if robots is None:
        found = await rollouts.open_in(tx, project, environment)
    else:
        found = [one for robot in robots for one in await rollouts.open_in(tx, project, environment, robot)]
    for one in found:
        if one.id == but:
            continue
        await rollouts.finish(tx, one.id, RolloutStatus.SUPERSEDED, now)
        finished = RolloutFinished(
            status=RolloutStatus.SUPERSEDED,
            live=one.live,
            pending=one.pending,
            failed=one.failed,
            total=one.total,
            seconds=(now - one.created_at).total_seconds(),
            undo="",
            text=f"replaced by a newer rollout, {but}",
        )
        await progress.append(tx, one.id, [finished], now, close=True)


async def take_away(tx: Transaction, project: str, environment: str, deployment: str, now: datetime) -> None:
    """Nothing is live in the environment any more: `deployment`, the first one, failed. Its robots are not asked for it again."""
    await rollouts.set_live(tx, project, environment, None, None)
    await activations.close_open(tx, project, environment, now)
    await conducting.unassign(tx, project, environment, deployment)
