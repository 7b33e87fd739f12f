"""Carrying out what takes a change back: by the same functions that make such changes, so that each is checked and kept in the history as any."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.fleet.undoing import (
    AliasAgain,
    DrainAgain,
    EnvironmentAgain,
    FreezeAgain,
    Frost,
    GroupAgain,
    Inverse,
    LabelsAgain,
    LiveAgain,
    PauseAgain,
    PlaceAgain,
    PolicyAgain,
    RobotAgain,
    RobotGone,
    VariablesAgain,
)
from lekiwi_deploy.server import grouping, placing, policies
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.live_changes import frost_of
from lekiwi_deploy.server.redeploying import redeploy
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.steering import steer
from lekiwi_deploy.server.store import aliases, audit, projects, robots, rollouts
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.targeting import robot_meant
from lekiwi_deploy.server.variables import changing
from lekiwi_deploy.wire.api import Identity, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RolloutId
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.rollouts import RolloutAct


@dataclass(frozen=True, slots=True)
class Act:
    """Who wants what to be taken back, and why. `reason`: for the history; `change`: which one it is."""

    tx: Transaction
    context: Context
    identity: Identity
    project: ProjectName
    reason: str
    change: int

    @property
    def why(self) -> str:
        """For a rollout, that says nothing of the change."""
        return self.reason or f"change {self.change} is taken back"

    @property
    def by(self) -> str:
        """Whoever does it."""
        return self.identity.name

    def where(self, *parts: str) -> str:
        """The target of the history."""
        return "/".join(("project", self.project, *parts))


async def carry_out(act: Act, inverse: Inverse) -> RolloutId | None:
    """Does it; the rollout that brings it to robots, if it takes one. Raises as the change itself would."""
    match inverse:
        case LiveAgain():
            return await _live(act, inverse)
        case VariablesAgain():
            return await _variables(act, inverse)
        case RobotAgain():
            return await _robot(act, inverse)
        case AliasAgain():
            await _alias(act, inverse)
        case FreezeAgain():
            await _freeze(act, inverse)
        case PolicyAgain(environment=name, before=policy, branch_before=branch):
            await policies.set_policy(act.tx, act.project, act.by, name, branch, policy, reason=act.reason)
        case EnvironmentAgain(environment=name, made=True):
            await policies.remove(act.tx, act.project, act.by, name, reason=act.reason)
        case EnvironmentAgain(environment=name, policy=policy, branch=branch):
            spec = EnvironmentSpec(name, branch, policy or Policy())
            configured = policy is not None
            await policies.create(
                act.tx, act.context, act.project, act.by, spec, configured=configured, reason=act.reason
            )
        case GroupAgain(name=name, before=None):
            await grouping.remove(act.tx, act.project, act.by, name, reason=act.reason)
        case GroupAgain(name=name, before=selector):
            assert selector is not None
            await grouping.define(act.tx, act.context, act.project, act.by, name, selector, reason=act.reason)
        case LabelsAgain(robot=robot, before=labels):
            await placing.label(act.tx, await robot_meant(act.tx, robot), labels, act.by, reason=act.reason)
        case PlaceAgain(robot=robot, before=environment):
            await placing.move(act.tx, await robot_meant(act.tx, robot), environment, act.by, reason=act.reason)
        case DrainAgain(robot=robot, drained=True):
            await placing.undrain(act.tx, await robot_meant(act.tx, robot), act.by, reason=act.reason)
        case DrainAgain(robot=robot, why=why):
            await placing.drain(act.tx, act.context, await robot_meant(act.tx, robot), act.by, act.reason or why)
        case PauseAgain(rollout=id, paused=paused):
            verb = RolloutAct(reason=act.reason)
            store = PostgresConducting(act.tx)
            await steer(store, act.context, act.identity, id, "resume" if paused else "pause", verb)
        case RobotGone(robot=robot):
            row = await robot_meant(act.tx, robot)
            await robots.delete(act.tx, robot)
            await audit.record(act.tx, act.by, "robot.remove", act.where(row.environment, robot), reason=act.reason)
    return None


async def _live(act: Act, inverse: LiveAgain) -> RolloutId:
    """What ran before runs again: at once if it was proven there; else, as something new, through the policy's steps."""
    tx, name, before = act.tx, inverse.environment, inverse.before
    assert before is not None
    environment = await projects.environment(tx, act.project, name)
    steps = None if await _proven(tx, act.project, name, before) else (environment.policy or Policy()).steps
    now = await frost_of(tx, act.project, name)
    rollout = await start_rollout(
        tx,
        act.context,
        deployment_id=before,
        environment=name,
        kind="rollback",
        by=act.by,
        reason=act.why,
        steps=steps,
    )
    await _set_frost(act, name, inverse.frost)
    await audit.record(
        tx,
        act.by,
        "environment.restore",
        act.where(name),
        {"to": before, "from": inverse.after, "rollout": rollout, "frozen": inverse.frost is not None},
        reason=act.reason,
        undo=LiveAgain(environment=name, before=inverse.after, after=before, frost=now),
    )
    return rollout


async def _proven(tx: Transaction, project: str, environment: str, deployment: DeploymentId) -> bool:
    """Whether a rollout of it there came to its end, so that no step is left to be passed."""
    found = await rollouts.newest_in(tx, environment, [deployment])
    row = found.get(deployment)
    if row is None or row.project != project:
        return False
    return row.status in (RolloutStatus.DONE, RolloutStatus.PARTIAL) or not row.course.steps


async def _set_frost(act: Act, name: EnvironmentName, frost: Frost | None) -> None:
    await projects.unfreeze(act.tx, act.project, name)
    if frost is not None:
        await projects.freeze(act.tx, act.project, name, frost.by, frost.at, frost.why)


async def _freeze(act: Act, inverse: FreezeAgain) -> None:
    now = await frost_of(act.tx, act.project, inverse.environment)
    await _set_frost(act, inverse.environment, inverse.before)
    verb = "unfreeze" if inverse.before is None else "freeze"
    undo = FreezeAgain(environment=inverse.environment, before=now, after=inverse.before)
    await audit.record(
        act.tx, act.by, f"environment.{verb}", act.where(inverse.environment), reason=act.reason, undo=undo
    )
    await act.tx.notify("rollout", f"{act.project}/{inverse.environment}")


async def _alias(act: Act, inverse: AliasAgain) -> None:
    undo = AliasAgain(name=inverse.name, before=inverse.after, after=inverse.before)
    detail = {"name": inverse.name, "to": inverse.before, "from": inverse.after}
    if inverse.before is None:
        await aliases.remove(act.tx, act.project, inverse.name)
    else:
        await aliases.put(act.tx, act.project, inverse.name, inverse.before, act.by, act.context.now())
    action = "alias.remove" if inverse.before is None else "alias.set"
    await audit.record(act.tx, act.by, action, act.where(), detail, reason=act.reason, undo=undo)


async def _variables(act: Act, inverse: VariablesAgain) -> RolloutId | None:
    again = await changing.put_back(act.tx, act.context, act.project, inverse, act.by)
    detail = {"scope": inverse.scope, "of": inverse.of, "names": list(inverse.names), "as_of": inverse.before}
    whose = (inverse.of,) if inverse.scope == "environment" else ()
    await audit.record(act.tx, act.by, "variables.restore", act.where(*whose), detail, reason=act.reason, undo=again)
    rollout: RolloutId | None = None
    for name in inverse.applied:
        live = (await projects.environment(act.tx, act.project, name)).live
        if live is not None:
            done = await redeploy(
                act.tx, act.context, of=live, environment=name, by=act.by, reason=act.why, going_back=True
            )
            rollout = done.rollout
    return rollout


async def _robot(act: Act, inverse: RobotAgain) -> RolloutId | None:
    row = await robot_meant(act.tx, inverse.robot)
    where = act.where(row.environment, row.name)
    undo = RobotAgain(robot=row.name, before=inverse.after, after=inverse.before)
    await rollouts.lock_environment(act.tx, row.project, row.environment)
    if inverse.before is None:
        if row.live is None:
            raise Conflict(f"nothing is live in {row.environment}: robot {row.name} would have nothing to follow")
        await robots.resume(act.tx, row.name, row.live, None)
        if row.live_rollout is not None:
            await rollouts.resumed(act.tx, row.live_rollout, row.name, act.context.now())
            await act.tx.notify("rollout", row.live_rollout)
        await audit.record(act.tx, act.by, "robot.resume", where, {"force": False}, reason=act.reason, undo=undo)
        return None
    rollout = await start_rollout(
        act.tx,
        act.context,
        deployment_id=inverse.before,
        environment=row.environment,
        kind="robot",
        by=act.by,
        reason=act.why,
        robots=(row.name,),
    )
    detail = {"to": inverse.before, "from": row.desired, "rollout": rollout}
    await audit.record(act.tx, act.by, "robot.rollback", where, detail, reason=act.reason, undo=undo)
    return rollout
