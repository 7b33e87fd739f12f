"""What a rollout would do: who, in which order, how much is sent, what would be restarted, what would hold it back now."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId
from lekiwi_deploy.wire.pace import Pace
from lekiwi_deploy.wire.why import HeldBack


class RobotForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One robot. `step`: from 1, in which it would be asked; 0: not at all, or it runs it already (`moves` false). `bytes`: to send, None: not known
    before it is built; `restarts`: its services whose process would be another; `reasons`: what would hold it back now."""

    robot: RobotId
    moves: bool
    step: int
    running: DeploymentId | None
    bytes: int | None = None
    restarts: tuple[str, ...] = ()
    reasons: tuple[HeldBack, ...] = ()


class StepForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `text`: what it waits for before and after, in words (`approval`, `soak 10m`); `not_before`: the earliest that it can begin, if
    nothing takes longer than it must."""

    number: int
    robots: int
    text: str
    not_before: datetime | None = None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`gates`: what would keep all of it now (approval, freeze, quarantine), in order. `bytes`: of all robots together, None: not known before it is
    built; `estimated`: that is what files would take one by one, and patches may make it less. `moves`: so many robots move; `there`: so
    many run it already, the same content and the same variables. `stuck`: the step, from 1, that nobody is there to try now."""

    environment: EnvironmentName
    deployment: DeploymentId | None
    robots: tuple[RobotForecast, ...]
    steps: tuple[StepForecast, ...] = ()
    gates: tuple[HeldBack, ...] = ()
    bytes: int | None = None
    estimated: bool = False
    moves: int = 0
    there: int = 0
    stuck: int | None = None
    notes: tuple[str, ...] = ()
    schema: str = "lekiwi.forecast/1"


class ForecastRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Of a deployment that is there: `deployment`, a selector; or of `ref`, a branch, tag or commit that was pushed, which may be built already;
    neither: of one that is not built yet. `pushed`: it comes by a git push; `pace`: as of `NewDeployment`."""

    environment: str | None = None
    deployment: str | None = None
    ref: str | None = None
    pushed: bool = False
    force: bool = False
    pace: Pace | None = None
    utc_offset_min: int = 0
