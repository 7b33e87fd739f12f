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
from lekiwi_deploy.server.approval_ends import supersede_requests
from lekiwi_deploy.server.conducting_store import ConductingStore, Surroundings
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.live_changes import live_before, record_live
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId, base62
from lekiwi_deploy.wire.policy import Policy, RolloutStep
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
    again: bool = False,
    steps: tuple[RolloutStep, ...] | None = None,
    recorded: bool = False,
) -> RolloutId:
    """`begin` in a transaction of PostgreSQL. What waited for approval there and is older waits no more. A deployment that becomes live is noted
    in the history of changes, unless its caller does that (`recorded`)."""
    before = await live_before(tx, deployment_id, environment) if kind == "deploy" and not recorded else None
    rollout = await begin(
        PostgresConducting(tx),
        context,
        deployment_id=deployment_id,
        environment=environment,
        kind=kind,
        by=by,
        reason=reason,
        robots=robots,
        force=force,
        keep=keep,
        again=again,
        steps=steps,
    )
    if kind == "deploy":
        await supersede_requests(tx, deployment_id, environment, context.now())
    if before is not None:
        await record_live(tx, before, rollout, by=by, reason=reason, force=force)
    return rollout


async def begin(
    store: ConductingStore,
    outside: Surroundings,
    *,
    deployment_id: DeploymentId,
    environment: EnvironmentName,
    kind: Kind,
    by: str,
    reason: str,
    robots: tuple[RobotId, ...] | None = None,
    force: bool = False,
    keep: tuple[RobotId, ...] = (),
    again: bool = False,
    steps: tuple[RolloutStep, ...] | None = None,
) -> RolloutId:
    """Makes `deployment_id` what the environment's robots are to run and returns the rollout that brings it there.

    `kind` deploy happens once per deployment and environment: again, it returns the same rollout, unless `again` says that a person wants it
    anew. `steps`: in place of the policy's. `robot` moves only `robots`, pins them there, and leaves what is live as it is. `force`: also
    where the deployment is quarantined. `keep`: robots that stay as they are.
    Raises `NotFound` (no such deployment, environment), `Conflict` (not built) and `Blocked` (it failed there before).
    """
    deployment = await store.deployment(deployment_id)
    if deployment is None:
        raise NotFound(f"there is no deployment {deployment_id}")
    if deployment.status != "built" or deployment.package_hash is None:
        raise Conflict(f"{deployment_id} is {deployment.status}, not built: nothing can run it yet")
    live = await store.lock_environment(deployment.project, environment)
    if live is None:
        raise NotFound(f"project {deployment.project!r} has no environment {environment!r}")
    key = f"deploy {deployment_id} {environment}" if kind == "deploy" and not again else None
    if key is not None and (there := await store.rollout_by_key(key)) is not None:
        return there
    now = outside.now()
    own = deployment.environment == environment  # what was asked of it for one environment holds in no other
    force = force or (own and deployment.force)
    if kind != "robot":
        await _check_quarantine(store, deployment, environment, by, now, force=force)
    id = RolloutId(f"rol_{base62(outside.random(16), 8)}")
    row = RolloutRow(
        id=id,
        project=deployment.project,
        environment=environment,
        deployment=deployment_id,
        kind=kind,
        status=RolloutStatus.ROLLING,
        by_whom=by,
        reason=reason,
        force=force,
        created_at=now,
        finished_at=None,
        previous=live.live,
        total=0,
        live=0,
        pending=0,
        failed=0,
        course=_course(
            live.policy,
            steps,
            deployment.metadata if own else DeploymentMetadata(),
            way_back=kind != "deploy" and steps is None,
        ),
    )
    await store.insert_rollout(row, key)
    await _supersede(store, deployment.project, environment, None if kind != "robot" else robots or (), now, but=id)
    if keep:
        await store.keep_robots(id, keep)
    total = await store.add_robots(id, deployment.project, environment, robots if kind == "robot" else None)
    await store.set_counts(id, total=total, live=0, pending=total, failed=0)
    if kind != "robot":
        await store.set_live(deployment.project, environment, deployment_id, id)
        await store.open_activation(deployment.project, environment, deployment_id, id, now, total)
        await store.set_deployment_rollout(deployment_id, id)
        started = RolloutStarted(id, deployment_id, deployment.version, environment, total, source_of(deployment))
        await store.tell(deployment_id, [started], now)
    await store.hint("rollout", id)
    return id


def _course(
    policy: Policy | None, steps: tuple[RolloutStep, ...] | None, asked: DeploymentMetadata, *, way_back: bool
) -> Course:
    """How a deployment reaches robots under this policy, as it is now: a later change does not touch rollouts that are under way. A way back
    goes to everybody at once, and leaves nobody out."""
    policy = policy or Policy()
    if way_back:
        return Course(expires_s=policy.pending_expires_s)
    return Course(
        steps=policy.steps if steps is None else steps,
        in_flight=policy.in_flight,
        max_failures=policy.max_failures,
        min_success=policy.min_success if asked.min_success is None else asked.min_success,
        skip_offline=policy.skip_offline if asked.skip_offline is None else asked.skip_offline,
        expires_s=policy.pending_expires_s,
    )


async def _check_quarantine(
    store: ConductingStore, deployment: DeploymentRow, environment: str, by: str, now: datetime, *, force: bool
) -> None:
    held = await store.quarantine(deployment.project, environment, deployment.id)
    if held is None:
        return
    if force:
        await store.lift_quarantine(deployment.project, environment, deployment.id, by, now)
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
    store: ConductingStore, project: str, environment: str, robots: Sequence[RobotId] | None, now: datetime, *, but: str
) -> None:
    """Ends the open rollouts that a new one replaces: those of the environment, or (`robots`) those of these robots alone."""
    if robots is None:
        found = await store.open_rollouts(project, environment)
    else:
        found = [one for robot in robots for one in await store.open_rollouts(project, environment, robot)]
    for one in found:
        if one.id == but:
            continue
        await store.finish(one.id, RolloutStatus.SUPERSEDED, now)
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
        await store.tell(one.id, [finished], now, close=True)


async def take_away(store: ConductingStore, project: str, environment: str, deployment: str, now: datetime) -> None:
    """Nothing is live in the environment any more: `deployment`, the first one, failed. Its robots are not asked for it again."""
    await store.set_live(project, environment, None, None)
    await store.close_activation(project, environment, now)
    await store.unassign(project, environment, deployment)
