"""Environments as people set them up: their policy in lekiwi.yaml's words, groups of robots, and moving robots between them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.policy import Policy


class NewEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment to make. `groups`, `select`: which robots it has; neither: those that people put there."""

    name: str
    branch: str | None = None
    groups: tuple[str, ...] = ()
    select: str | None = None
    reason: str = ""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One key of an environment's block in lekiwi.yaml. `value`: as it is written there; `default`: nobody set it, or to what holds
    anyway; `means`: the default in words, where the value itself says nothing."""

    key: str
    value: str
    default: bool
    means: str = ""


class PolicyDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server and lekiwi.yaml of the default branch say different things. `here`: what holds; `file`: what is written there."""

    key: str
    here: str
    file: str


class NextOpening(msgspec.Struct, frozen=True, kw_only=True):
    """The environment's window on one clock. `zone`: its name; `open_until`: it is open, until then (None: closed, or for longer than anybody looks
    ahead when `open`); `opens`: when it opens next (None: it is open, or does not open within a year)."""

    zone: str
    open: bool
    open_until: datetime | None = None
    opens: datetime | None = None


class EnvironmentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in an environment. `settings`: every key; `text`: its block as lekiwi.yaml would have it; `seeded`: lekiwi.yaml of the default
    branch names it, and `differs` says where that is not what holds; `robots`: those in it, by name; `moved`: robots that this change
    moved, each with where it was and where it is; `opening`: of its window; `change`: the number of the
    change that was made, None: nothing was."""

    environment: EnvironmentName
    project: ProjectName
    branch: str | None
    policy: Policy
    settings: tuple[Setting, ...]
    text: str
    seeded: bool
    differs: tuple[PolicyDifference, ...] = ()
    robots: tuple[RobotId, ...] = ()
    moved: Mapping[RobotId, tuple[EnvironmentName, EnvironmentName]] = {}
    opening: NextOpening | None = None
    change: int | None = None
    schema: str = "lekiwi.environment-policy/1"


class SetPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an environment's policy in lekiwi.yaml's words. `set`: key -> value as it is written there; `unset`: keys whose default is to
    hold; `text`: a whole block (or a whole lekiwi.yaml that has it) of the file called `file`, that replaces everything; `follow_file`: back to
    what lekiwi.yaml says."""

    set: Mapping[str, str] = {}
    unset: tuple[str, ...] = ()
    text: str | None = None
    file: str = "policy"
    follow_file: bool = False
    reason: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A named selector of robots by their labels. `defined` false: nobody defined it, so it is the robots with `group=<name>`; `environments` that
    target it; `robots` that fit, by name; `moved`: robots that this change moved, each with where it was and where it is."""

    name: str
    project: ProjectName
    selector: str
    defined: bool
    environments: tuple[EnvironmentName, ...] = ()
    robots: tuple[RobotId, ...] = ()
    by: str = ""
    at: datetime | None = None
    moved: Mapping[RobotId, tuple[EnvironmentName, EnvironmentName]] = {}
    schema: str = "lekiwi.group/1"


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    groups: tuple[Group, ...]
    schema: str = "lekiwi.groups/1"


class SetGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Defines a group, or defines it anew."""

    selector: str
    reason: str = ""


class MoveRobot(msgspec.Struct, frozen=True, kw_only=True):
    """Puts a robot into another environment of its project."""

    environment: str
    reason: str = ""


class DrainRobot(msgspec.Struct, frozen=True, kw_only=True):
    """Takes a robot out of deployments, or back in: it keeps what it runs."""

    reason: str = ""
