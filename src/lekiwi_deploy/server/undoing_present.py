"""What there is now of that which a change was about."""

from __future__ import annotations

from lekiwi_deploy.fleet.undoing import (
    AliasAgain,
    DrainAgain,
    EnvironmentAgain,
    FreezeAgain,
    GroupAgain,
    Inverse,
    LabelsAgain,
    LiveAgain,
    PauseAgain,
    PlaceAgain,
    PolicyAgain,
    Present,
    RobotAgain,
    RobotGone,
    VariablesAgain,
)
from lekiwi_deploy.server.live_changes import frost_of
from lekiwi_deploy.server.store import aliases, groups, policies, robots, rollouts, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import ProjectName


async def present(tx: Transaction, project: ProjectName, inverse: Inverse) -> Present:
    """Reads it. Locks what says what is live, so that nothing comes in between."""
    match inverse:
        case LiveAgain(environment=name):
            live = await rollouts.lock_environment(tx, project, name)
            return Present(gone=_gone("environment", name)) if live is None else Present(value=live.live)
        case FreezeAgain(environment=name):
            if await policies.read(tx, project, name) is None:
                return Present(gone=_gone("environment", name))
            return Present(value=await frost_of(tx, project, name) is not None)
        case PolicyAgain(environment=name):
            row = await policies.read(tx, project, name)
            return Present(gone=_gone("environment", name)) if row is None else Present(value=(row.policy, row.branch))
        case EnvironmentAgain(environment=name):
            return Present(value=await policies.read(tx, project, name) is not None)
        case AliasAgain(name=name):
            alias = await aliases.read(tx, project, name)
            return Present(value=alias.deployment if alias is not None else None)
        case GroupAgain(name=name):
            return Present(value=(await groups.selectors(tx, project)).get(name))
        case VariablesAgain():
            return await _variables(tx, project, inverse)
        case PauseAgain(rollout=id):
            rollout = await rollouts.read(tx, id)
            if rollout is None or rollout.status != RolloutStatus.ROLLING:
                return Present(gone=f"the rollout {id} is over")
            return Present(value=rollout.course.paused is not None)
        case _:
            return await _robot(tx, project, inverse)


async def _variables(tx: Transaction, project: ProjectName, inverse: VariablesAgain) -> Present:
    now = await variables.at_revision(tx, project, await variables.revision(tx, project))
    newest = max(
        (
            one.revision
            for one in now
            if (one.scope, one.of) == (inverse.scope, inverse.of) and one.name in inverse.names
        ),
        default=0,
    )
    return Present(value=inverse.after if newest <= inverse.after else newest)


async def _robot(
    tx: Transaction, project: ProjectName, inverse: LabelsAgain | PlaceAgain | DrainAgain | RobotAgain | RobotGone
) -> Present:
    row = await robots.read(tx, inverse.robot)
    if row is None or row.project != project:
        return Present(gone=_gone("robot", inverse.robot))
    match inverse:
        case LabelsAgain(after=labels):
            return Present(value={name: row.labels.get(name) for name in labels})
        case PlaceAgain():
            return Present(value=row.environment)
        case DrainAgain():
            return Present(value=row.drained_at is not None)
        case RobotAgain():
            return Present(value=row.desired if row.by_hand else None)
        case RobotGone():
            if row.joined_at is not None:
                return Present(gone=f"a machine has joined as {row.name}: lekiwi robots rm {row.name} forgets it")
            return Present(value=True)


def _gone(noun: str, name: str) -> str:
    return f"the {noun} {name} is not there any more"
