"""Variables of services: who sees which, in which version. Values of secrets leave the server only sealed to a robot's key.

Every change is a new version with a number that rises in the project: its *revision*. What holds at revision N is, of each name in each
scope, the newest version up to N. A deployment that goes live in an environment is bound to the revision of that moment, there and for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec


class Scope(StrEnum):
    """Whose variable it is; a later one goes before an earlier one."""

    PROJECT = "project"  # all environments but previews
    ENVIRONMENT = "environment"
    BRANCH = "branch"  # deployments of this branch
    TAG = "tag"  # robots whose labels fit
    ROBOT = "robot"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a name in a scope. `of`: the environment, branch, selector or robot (empty: the project). `value` None: a secret, or
    removed. `fingerprint`: 12 hex digits that are equal when values are, of this project only. `live`: it is what robots there were
    given last; otherwise it goes live with the next deployment."""

    name: str
    scope: Scope
    of: str
    revision: int
    secret: bool
    removed: bool
    by: str
    at: datetime
    value: str | None = None
    fingerprint: str = ""
    live: bool = False
    schema: str = "lekiwi.variable/1"


class Variables(msgspec.Struct, frozen=True, kw_only=True):
    """By name and scope. `revision`: the newest of the project; `live_revision`: that the named environment runs with."""

    variables: tuple[Variable, ...]
    revision: int
    live_revision: int | None = None
    schema: str = "lekiwi.variables/1"


class SetVariable(msgspec.Struct, frozen=True, kw_only=True):
    """One to set. `secret` None: by its name (KEY, TOKEN, SECRET, PASS in it) and whether the environment is protected."""

    name: str
    value: str
    secret: bool | None = None


class ChangeVariables(msgspec.Struct, frozen=True, kw_only=True):
    """Sets and removes in one scope, all or nothing. `replace`: names that are there already may be set (else that is a conflict).
    `apply`: what is live is deployed again with them, at once."""

    scope: Scope
    of: str = ""
    set: tuple[SetVariable, ...] = ()
    remove: tuple[str, ...] = ()
    replace: bool = False
    apply: bool = False
    reason: str = ""


class VariablesChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`changed`: names whose value is another now. `rollouts`: of environments where they were applied, by environment."""

    revision: int
    changed: tuple[str, ...]
    environments: tuple[str, ...]
    rollouts: Mapping[str, str] = {}
    undo: str = ""
    schema: str = "lekiwi.variables-changed/1"


class SealedVariables(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot gets with a deployment. `sealed`: base64 of a NaCl sealed box for the robot's key (its Ed25519 key as Curve25519) over
    the msgpack map name -> value; `secrets`: names whose values are never shown in logs. The same deployment, environment and revision
    always seal the same values of a robot's scopes as they were when it was first asked."""

    environment: str
    revision: int
    sealed: str
    secrets: tuple[str, ...] = ()
