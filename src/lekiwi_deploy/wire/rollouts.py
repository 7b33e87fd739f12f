"""Steering a gradual rollout, as the HTTP API takes and gives it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.policy import RolloutStep


class RolloutAct(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: why. `keep`: of an abort, leaves robots that took it as they are."""

    reason: str = ""
    keep: bool = False


class RolloutCourse(msgspec.Struct, frozen=True, kw_only=True):
    """Where a gradual rollout stands: in step `at` of `steps`, from 1 (one more than there are: all are behind it). `waits` for `robots`,
    `soak`, `approval`, `nobody` or `paused`, until `until` if that ends by itself; `stopped`: why it did, for good."""

    steps: tuple[RolloutStep, ...]
    at: int
    waits: str | None = None
    until: datetime | None = None
    passed_at: datetime | None = None
    paused_by: str | None = None
    paused_at: datetime | None = None
    paused_why: str = ""
    stopped: str | None = None
