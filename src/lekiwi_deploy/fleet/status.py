"""What a deployment's status is shown as: its build's, then what became of its newest rollout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lekiwi_deploy.wire.api import DeploymentStatus, RolloutStatus

_ROLLED: Mapping[RolloutStatus, DeploymentStatus] = MappingProxyType(
    {
        RolloutStatus.ROLLING: DeploymentStatus.ROLLING,
        RolloutStatus.DONE: DeploymentStatus.LIVE,
        RolloutStatus.PARTIAL: DeploymentStatus.PARTIAL,
        RolloutStatus.ROLLED_BACK: DeploymentStatus.ROLLED_BACK,
        RolloutStatus.FAILED: DeploymentStatus.FAILED,
        RolloutStatus.SUPERSEDED: DeploymentStatus.REPLACED,
        RolloutStatus.CANCELED: DeploymentStatus.CANCELED,
    }
)
_REPLACED_WHEN_NOT_ACTIVE = frozenset({DeploymentStatus.ROLLING, DeploymentStatus.LIVE, DeploymentStatus.PARTIAL})


def shown_status(
    build: DeploymentStatus, rollout: RolloutStatus | None, *, active: bool, stopped: bool = False
) -> DeploymentStatus:
    """`build` is the stored status (queued, building, built, failed, canceled), `rollout` that of its newest rollout
    of an environment (None: it never had one), `active` whether its environment wants it now, `stopped` whether that rollout stopped for good,
    because it failed on too many robots."""
    if build is not DeploymentStatus.BUILT or rollout is None:
        return build
    shown = _ROLLED[rollout]
    if not active and stopped and shown is DeploymentStatus.PARTIAL:
        return DeploymentStatus.ROLLED_BACK
    if not active and shown in _REPLACED_WHEN_NOT_ACTIVE:
        return DeploymentStatus.REPLACED
    if active and shown is DeploymentStatus.REPLACED:
        return DeploymentStatus.LIVE
    return shown
