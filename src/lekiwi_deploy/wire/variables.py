"""Variables of services: who sees which, in which version. Values of secrets leave the server only sealed to a robot's key.

Every change is a new version with a number that rises in the project: its *revision*. What holds at revision N is, of each name in each
scope, the newest version up to N. A deployment that goes live in an environment is bound to the revision of that moment, there and for good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from lekiwi_deploy.errors import BadInput

NAME = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
_NEVER = (
    "PATH", "PORT", "HOME", "SHELL", "USER", "LOGNAME", "ENV", "BASH_ENV", "IFS", "CDPATH", "GCONV_PATH", "GLIBC_TUNABLES",
    "HOSTALIASES", "LOCPATH", "MALLOC_TRACE", "NODE_OPTIONS", "NODE_PATH", "NLSPATH", "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT",
    "RESOLV_HOST_CONF", "TMPDIR", "JAVA_TOOL_OPTIONS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
)  # fmt: skip
NEVER = f"^(?:(?:LD_|DYLD_|PYTHON|LEKIWI_|BASH_FUNC_).*|{'|'.join(_NEVER)})$"
"""Names that change how programs are loaded, or that the agent sets."""
MAX_VALUE = 64_000
"""Bytes of one value, as UTF-8."""
MAX_TOGETHER = 500_000
"""Bytes of all values that one robot could get: a desired state is one frame of the link."""
_NAME = re.compile(rf"{NAME}\Z")
_NEVER_NAME = re.compile(NEVER)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def checked_variable(name: str) -> str:
    """`name`, if a variable of services may have it. Raises `BadInput`, which never repeats what may be a value."""
    if not _NAME.match(name):
        shown = f"{name[:20]!r}{'…' if len(name) > 20 else ''}"
        raise BadInput(f"{shown} cannot name a variable: use A-Z, a-z, 0-9 and _, at most 128, no digit first")
    if _NEVER_NAME.match(name):
        raise BadInput(f"{name} changes how programs are loaded or is set by the agent: it cannot be set here")
    return name


def checked_value(name: str, value: str) -> str:
    """`value`, if it can be a variable's on a robot. Raises `BadInput`, without the value."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadInput(f"the value of {name} is not text: half of a character pair is missing") from None
    if size > MAX_VALUE:
        raise BadInput(
            f"the value of {name} has {size} bytes, at most {MAX_VALUE} are possible: deploy it as a file instead"
        )
    if found := _CONTROL.search(value):
        raise BadInput(
            f"the value of {name} has a control character (U+{ord(found[0]):04X}, character {found.start() + 1}): "
            "only text, tabs and newlines can be given to a service; encode it, as base64 for one"
        )
    return value


class Scope(StrEnum):
    """Whose variable it is; a later one goes before an earlier one."""

    PROJECT = "project"  # all environments but previews
    ENVIRONMENT = "environment"
    BRANCH = "branch"  # deployments of this branch
    TAG = "tag"  # robots whose labels fit
    ROBOT = "robot"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a name in a scope. `of`: the environment, branch, selector or robot (empty: the project). `value` None: a secret,
    removed, or `lost`: its key is. `fingerprint`: 12 hex digits that are equal when values of that name are, in this project only. `live`: every
    environment that it concerns was given it; otherwise it goes live with the next deployment. `behind`: how many robots run without this
    version, though a service of theirs reads the name; `behind_robots`: the first of them by name, ten at most. `declared` false: something is
    live or built there, and none of its services reads the name."""

    name: str
    scope: Scope
    of: str
    revision: int
    secret: bool
    removed: bool
    by: str
    at: datetime
    value: str | None = None
    lost: bool = False
    fingerprint: str = ""
    live: bool = False
    behind: int = 0
    behind_robots: tuple[str, ...] = ()
    declared: bool = True
    schema: str = "lekiwi.variable/1"


class Variables(msgspec.Struct, frozen=True, kw_only=True):
    """By name and scope; a history newest first. `revision`: the newest of the project; `live_revision`: that `environment`, the one that was
    named or is the robot's, runs with. `more`: older versions were left off."""

    variables: tuple[Variable, ...]
    revision: int
    live_revision: int | None = None
    environment: str | None = None
    more: bool = False
    schema: str = "lekiwi.variables/1"


class SetVariable(msgspec.Struct, frozen=True, kw_only=True):
    """One to set. `secret` None: by its name (KEY, TOKEN, SECRET, PASS in it) and whether the environment is protected."""

    name: str
    value: str
    secret: bool | None = None

    def __repr__(self) -> str:
        return f"SetVariable({self.name!r}, …)"


class ChangeVariables(msgspec.Struct, frozen=True, kw_only=True):
    """Sets and removes in one scope, all or nothing. `of`: of environments there may be several, joined by commas. `replace`: names that are
    there already may be set (else that is a conflict); `existing`: all must be there. `prune`: names of the scope that are neither in `set`
    nor in `keep` are removed. `apply`: what is live is deployed again with them, at once. `dry_run`: only say what would change."""

    scope: Scope
    of: str = ""
    set: tuple[SetVariable, ...] = ()
    remove: tuple[str, ...] = ()
    replace: bool = False
    existing: bool = False
    prune: bool = False
    keep: tuple[str, ...] = ()
    apply: bool = False
    dry_run: bool = False
    reason: str = ""


class VariablesChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`changed`: names whose value is another now; each is in `added`, `updated` or `removed`. `secrets`: those of them that are one.
    `environments`: where something live declares one of them, so that its next deployment matters. `undeclared`: names that no service
    declares, of what is live or newest there (`services`: which those have; none: nothing was deployed yet). `deployments`, `rollouts`: of
    `apply`, by environment; `waiting`: environments where it is not rolled out yet, and why. `nobody`: there is no environment now that it
    concerns, as no robot has those labels, or nothing of that branch was deployed."""

    revision: int
    changed: tuple[str, ...]
    environments: tuple[str, ...]
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    deployments: Mapping[str, str] = {}
    rollouts: Mapping[str, str] = {}
    waiting: Mapping[str, str] = {}
    nobody: bool = False
    dry_run: bool = False
    undo: str = ""
    schema: str = "lekiwi.variables-changed/1"


class VariableDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A name that differs. `before`, `after`: fingerprints, None: not there; `before_of`, `after_of`: whose value that is (`environment staging`);
    revisions: of those versions."""

    name: str
    before: str | None
    after: str | None
    before_of: str = ""
    after_of: str = ""
    before_revision: int | None = None
    after_revision: int | None = None
    secret: bool = False


class VariableDifferences(msgspec.Struct, frozen=True, kw_only=True):
    """From `a` to `b`, as they are understood: `revision 12`, `environment staging`, `dep_… in production, revision 9`."""

    a: str
    b: str
    variables: tuple[VariableDifference, ...]
    same: int = 0
    schema: str = "lekiwi.variables-diff/1"


class SealedVariables(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot gets with a deployment. `sealed`: base64 of a NaCl sealed box for the robot's key (its Ed25519 key as Curve25519) over
    the msgpack map name -> value; `secrets`: names whose values are never shown in logs. The same deployment, environment and revision
    always seal the same values of a robot's scopes as they were when it was first asked. `sealed` empty: the server cannot open them any more,
    so only a robot that has them already has them."""

    environment: str
    revision: int
    sealed: str
    secrets: tuple[str, ...] = ()
