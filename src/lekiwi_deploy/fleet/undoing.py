"""How a change is taken back: what stands in its audit row, whether it may be done now, and what that would be, in words.

Each inverse says what was before and what the change made of it. When what is there now is something else again, a newer change is in the
way: taking the older one back would silently take that one back too, so it is refused and the newer one named.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.policy import Policy


class Frost(msgspec.Struct, frozen=True):
    """A freeze of an environment: who, since when, why."""

    by: str
    at: datetime
    why: str


class LiveAgain(msgspec.Struct, frozen=True, kw_only=True, tag="live", tag_field="what"):
    """An environment's deployment (deploy, rollback, promote, alias of an environment). `before` None: nothing was live, so there is nothing to
    go back to. `frost`: the freeze that there was before. `variables`: the revision that was live before; None: the one bound to `before`."""

    environment: EnvironmentName
    before: DeploymentId | None
    after: DeploymentId
    frost: Frost | None = None
    variables: int | None = None


class AliasAgain(msgspec.Struct, frozen=True, kw_only=True, tag="alias", tag_field="what"):
    """A label of a deployment. None: there was none, or there is none any more."""

    name: str
    before: DeploymentId | None
    after: DeploymentId | None


class VariablesAgain(msgspec.Struct, frozen=True, kw_only=True, tag="variables", tag_field="what"):
    """Variables `names` of one scope: as they were at revision `before`; the change made revision `after`. `applied`: environments where it
    went live at once."""

    scope: str
    of: str
    names: tuple[str, ...]
    before: int
    after: int
    applied: tuple[EnvironmentName, ...] = ()


class PolicyAgain(msgspec.Struct, frozen=True, kw_only=True, tag="policy", tag_field="what"):
    """An environment's policy (None: nobody had configured it) and branch."""

    environment: EnvironmentName
    before: Policy | None
    after: Policy | None
    branch_before: str | None = None
    branch_after: str | None = None


class EnvironmentAgain(msgspec.Struct, frozen=True, kw_only=True, tag="environment", tag_field="what"):
    """An environment was made (`made`), or removed, with this policy and branch."""

    environment: EnvironmentName
    made: bool
    policy: Policy | None = None
    branch: str | None = None


class GroupAgain(msgspec.Struct, frozen=True, kw_only=True, tag="group", tag_field="what"):
    """A group's selector. None: nobody had defined it, or nobody does any more."""

    name: str
    before: str | None
    after: str | None


class FreezeAgain(msgspec.Struct, frozen=True, kw_only=True, tag="freeze", tag_field="what"):
    """Whether an environment is frozen. None: it is not."""

    environment: EnvironmentName
    before: Frost | None
    after: Frost | None


class LabelsAgain(msgspec.Struct, frozen=True, kw_only=True, tag="labels", tag_field="what"):
    """Those labels of a robot that were set or removed. None: not there."""

    robot: RobotId
    before: Mapping[str, str | None]
    after: Mapping[str, str | None]


class PlaceAgain(msgspec.Struct, frozen=True, kw_only=True, tag="place", tag_field="what"):
    """The environment of a robot."""

    robot: RobotId
    before: EnvironmentName
    after: EnvironmentName


class DrainAgain(msgspec.Struct, frozen=True, kw_only=True, tag="drain", tag_field="what"):
    """Whether a robot is drained: `why` it is or was. `drained`: what the change made of it."""

    robot: RobotId
    drained: bool
    why: str = ""


class PauseAgain(msgspec.Struct, frozen=True, kw_only=True, tag="pause", tag_field="what"):
    """Whether a rollout is paused: what the change made of it."""

    rollout: RolloutId
    paused: bool


class RobotAgain(msgspec.Struct, frozen=True, kw_only=True, tag="robot", tag_field="what"):
    """A robot that was taken to `after` by hand, or let go on (`after` None). `before`: what a person had pinned it to; None: it followed
    its environment."""

    robot: RobotId
    before: DeploymentId | None
    after: DeploymentId | None


class RobotGone(msgspec.Struct, frozen=True, kw_only=True, tag="robot_added", tag_field="what"):
    """A robot was added; it is forgotten again, as long as no machine joined with it."""

    robot: RobotId


Inverse = (
    LiveAgain
    | AliasAgain
    | VariablesAgain
    | PolicyAgain
    | EnvironmentAgain
    | GroupAgain
    | FreezeAgain
    | LabelsAgain
    | PlaceAgain
    | DrainAgain
    | PauseAgain
    | RobotAgain
    | RobotGone
)
"""What `audit.record(undo=…)` takes."""


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What is there now of that which an inverse is about, in the form in which it says `after`. `gone`: the thing itself is not there any more, and
    why that matters in a line."""

    value: object = None
    gone: str = ""


def after(inverse: Inverse) -> object:
    """What the change left: as long as that is what is there, it may be taken back."""
    match inverse:
        case EnvironmentAgain(made=made):
            return made
        case PolicyAgain(after=policy, branch_after=branch):
            return policy, branch
        case FreezeAgain(after=frost):
            return frost is not None
        case LabelsAgain(after=labels):
            return dict(labels)
        case DrainAgain(drained=drained):
            return drained
        case PauseAgain(paused=paused):
            return paused
        case VariablesAgain(after=revision):
            return revision
        case RobotGone():
            return True
        case _:
            return inverse.after


def nothing_before(inverse: Inverse) -> str:
    """Why it cannot be taken back at all, in a line; empty when it can."""
    if isinstance(inverse, LiveAgain) and inverse.before is None:
        return f"nothing was live in {inverse.environment} before {inverse.after}: there is nothing to go back to"
    return ""


def subject(inverse: Inverse) -> tuple[str, ...]:
    """What it is about: of two changes of one subject the newer one goes first."""
    match inverse:
        case LiveAgain(environment=name):
            return ("live", name)
        case FreezeAgain(environment=name):
            return ("freeze", name)
        case PolicyAgain(environment=name) | EnvironmentAgain(environment=name):
            return ("policy", name)
        case VariablesAgain(scope=scope, of=of):
            return ("variables", scope, of)
        case AliasAgain(name=name):
            return ("alias", name)
        case GroupAgain(name=name):
            return ("group", name)
        case LabelsAgain(robot=robot):
            return ("labels", robot)
        case PlaceAgain(robot=robot):
            return ("place", robot)
        case DrainAgain(robot=robot):
            return ("drain", robot)
        case PauseAgain(rollout=rollout):
            return ("pause", rollout)
        case RobotAgain(robot=robot):
            return ("robot", robot)
        case RobotGone(robot=robot):
            return ("added", robot)


def text(inverse: Inverse) -> str:
    """What taking it back does, in a line."""
    match inverse:
        case LiveAgain(environment=name, before=before, after=later, frost=frost):
            return f"{name} runs {before} again instead of {later}" + ("" if frost is None else ", and is frozen again")
        case AliasAgain(name=name, before=None):
            return f"the alias {name} is removed"
        case AliasAgain(name=name, before=before):
            return f"the alias {name} is {before} again"
        case VariablesAgain(scope=scope, of=of, names=names, applied=applied):
            whose = f"{scope} {of}".strip()
            live = f", at once in {', '.join(applied)}" if applied else ""
            return f"{', '.join(names)} of {whose} {'is' if len(names) == 1 else 'are'} as before{live}"
        case PolicyAgain(environment=name, before=None):
            return f"the policy of {name} is the defaults again"
        case PolicyAgain(environment=name):
            return f"the policy of {name} is as before"
        case EnvironmentAgain(environment=name, made=True):
            return f"the environment {name} is removed"
        case EnvironmentAgain(environment=name):
            return f"the environment {name} is made again, with its policy"
        case GroupAgain(name=name, before=None):
            return f"the group {name} is not defined any more"
        case GroupAgain(name=name, before=before):
            return f"the group {name} is {before} again"
        case FreezeAgain(environment=name, before=None):
            return f"{name} is unfrozen"
        case FreezeAgain(environment=name):
            return f"{name} is frozen again"
        case LabelsAgain(robot=robot, before=before):
            said = [f"{key}={value}" if value is not None else f"no {key}" for key, value in sorted(before.items())]
            return f"robot {robot} has {', '.join(said)} again"
        case PlaceAgain(robot=robot, before=before):
            return f"robot {robot} is in {before} again"
        case DrainAgain(robot=robot, drained=True):
            return f"robot {robot} takes part in deployments again"
        case DrainAgain(robot=robot):
            return f"robot {robot} is drained again"
        case PauseAgain(rollout=rollout, paused=True):
            return f"the rollout {rollout} goes on"
        case PauseAgain(rollout=rollout):
            return f"the rollout {rollout} is paused again"
        case RobotAgain(robot=robot, before=None):
            return f"robot {robot} follows its environment again"
        case RobotAgain(robot=robot, before=before):
            return f"robot {robot} is pinned to {before} again"
        case RobotGone(robot=robot):
            return f"robot {robot} is forgotten"
