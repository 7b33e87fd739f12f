"""What a rollout would do: who, in which order, how much is sent, what would be restarted, what would hold it back now."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId
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
    """One step. `text`: what it waits for before and after, in words (`approval`, `soak 10m`); `not_before`: the earliest that it can begin, if nothing takes
    longer than it must."""

    number: int
    robots: int
    text: str
    not_before: datetime | None = None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`gates`: what would keep all of it now (approval, freeze, quarantine), in order. `bytes`: of all robots together."""

    environment: EnvironmentName
    deployment: DeploymentId | None
    robots: tuple[RobotForecast, ...]
    steps: tuple[StepForecast, ...] = ()
    gates: tuple[HeldBack, ...] = ()
    bytes: int | None = None
    schema: str = "lekiwi.forecast/1"
