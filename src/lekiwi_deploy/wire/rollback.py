"""Going back: what a selector means, and what a rollback is asked for and came to."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.api import Deployment
from lekiwi_deploy.wire.forecast import Forecast
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """An interval during which `deployment` was live in an environment; `until` None: it is."""

    deployment: DeploymentId
    version: str
    commit: str | None
    since: datetime
    until: datetime | None
    good: int = 0
    total: int = 0


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What a selector means. `text` is the line to echo."""

    selector: str
    deployment: Deployment
    activation: Activation | None
    text: str
    schema: str = "lekiwi.resolution/1"


class RollbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`to`: a selector of reference grammar, None for the previous good one; `robot`: only that one. `zone`: the asker's IANA time
    zone or UTC offset in minutes, that naive times in `to` are in. `gradual`: through the policy's steps; `keep_env`: with the variables of now,
    not those that went with it."""

    environment: str | None = None
    to: str | None = None
    robot: str | None = None
    reason: str = ""
    force: bool = False
    dry_run: bool = False
    gradual: bool = False
    keep_env: bool = False
    utc_offset_min: int = 0


class RollbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`rollout` None: dry run (`forecast`), or nothing to do (`changed` false). `frozen`: automatic deployment stands still from now on.
    `there`: so many of `robots` run that content already. `deployment`: what becomes live, where `keep_env` made a new one of it."""

    resolution: Resolution
    environment: EnvironmentName
    rollout: RolloutId | None
    changed: bool
    frozen: bool
    robots: tuple[RobotId, ...]
    undo: str
    there: int = 0
    forecast: Forecast | None = None
    deployment: DeploymentId | None = None
    schema: str = "lekiwi.rollback/1"
