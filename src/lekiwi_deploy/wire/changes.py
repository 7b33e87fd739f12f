"""What differs between two deployments, and the changes of what is live that a person asks for: promote, alias, redeploy, undo."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.api import Deployment
from lekiwi_deploy.wire.approvals import ApprovalRequest
from lekiwi_deploy.wire.forecast import Forecast
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RolloutId


class CommitLine(msgspec.Struct, frozen=True, kw_only=True):
    """One commit between the two."""

    commit: str
    author: str
    at: datetime
    subject: str


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is in one, in the other, or different in both. `before`, `after`: a version, size or setting as text; None: not there. Never
    a variable's value: there they are revisions."""

    name: str
    before: str | None
    after: str | None


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """From `a` to `b`. `a` None: nothing ran. `commits`: newest first, of `b` and not of `a`, at most 50; `commits_more` that were left off;
    `behind`: `b` lacks commits that `a` has. `same_bytes`: one manifest. `config`: settings of services. `restarts`: services whose
    process would be another one."""

    a: Deployment | None
    b: Deployment
    same_bytes: bool
    commits: tuple[CommitLine, ...] = ()
    commits_more: int = 0
    behind: bool = False
    files: tuple[Changed, ...] = ()
    files_more: int = 0
    dependencies: tuple[Changed, ...] = ()
    config: tuple[Changed, ...] = ()
    variables: tuple[Changed, ...] = ()
    restarts: tuple[str, ...] = ()
    schema: str = "lekiwi.diff/1"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a deployment live in an environment without a build. `source`: an environment (what is live there) or a selector; `target`: an
    environment. `keep_env`: with the variables of now, though it ran there before. `kind`: `promote`, or `alias` where the environment's name was
    pointed at it; `digest`: of what the asker looked at (None: whatever it is); another one is refused. `show`: nothing but the differences."""

    source: str
    target: str
    kind: str = "promote"
    digest: str | None = None
    show: bool = False
    reason: str = ""
    force: bool = False
    dry_run: bool = False
    keep_env: bool = False
    utc_offset_min: int = 0


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """`rollout` None: a dry run (`forecast`), nothing to do (`changed` false), or it waits (`request`). `thawed`: this ended the freeze of the
    environment; `notes`: what a person should know of it."""

    deployment: Deployment
    environment: EnvironmentName
    differences: Differences
    changed: bool
    rollout: RolloutId | None = None
    request: ApprovalRequest | None = None
    forecast: Forecast | None = None
    undo: str = ""
    thawed: bool = False
    notes: tuple[str, ...] = ()
    schema: str = "lekiwi.moved/1"


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """`revert`: robots that took it go back, too; `environment`: only there (None: the only one where there is something to stop)."""

    revert: bool = False
    reason: str = ""
    environment: str | None = None


class Canceled(Deployment, frozen=True, kw_only=True):
    """The deployment, and what was stopped: `build`, `request` (it waited for approval), `rollout`, or `nothing` (it was canceled before).
    `text` says it in a line; `took`: robots that run it and keep it; `reverting`: the rollout that takes it back."""

    stopped: str = "nothing"
    text: str = ""
    took: int = 0
    reverting: RolloutId | None = None
    undo: str = ""


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """A label of a deployment, that every selector understands."""

    name: str
    deployment: DeploymentId
    version: str
    by: str
    at: datetime
    schema: str = "lekiwi.alias/1"


class Aliases(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    aliases: tuple[Alias, ...]
    schema: str = "lekiwi.aliases/1"


class SetAlias(msgspec.Struct, frozen=True, kw_only=True):
    """`deployment`: a selector, meant in `environment` (None: any; only times and `previous` mean something else in each), or an environment:
    what is live there."""

    deployment: str
    reason: str = ""
    environment: str | None = None
    utc_offset_min: int = 0


class Redeploy(msgspec.Struct, frozen=True, kw_only=True):
    """A new deployment with the same content and the variables of now. `deployment`: a selector, None: what is live; `rebuild`: its commit or
    upload is built again, whatever was built before."""

    environment: str | None = None
    deployment: str | None = None
    rebuild: bool = False
    message: str | None = None
    force: bool = False
    utc_offset_min: int = 0


class Undo(msgspec.Struct, frozen=True, kw_only=True):
    """Takes back a change: the newest one that can be (of `environment`, if given), or the one with the number `change`."""

    change: int | None = None
    environment: str | None = None
    reason: str = ""
    dry_run: bool = False


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """`change`: which one was (or would be) taken back, that `by` made at `at`, and `was` it in words; `text`: what that does, in a line. `redo`: the
    command that takes this back."""

    change: int
    text: str
    done: bool
    rollout: RolloutId | None = None
    deployment: DeploymentId | None = None
    was: str = ""
    by: str = ""
    at: datetime | None = None
    redo: str = ""
    schema: str = "lekiwi.undone/1"
