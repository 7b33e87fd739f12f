"""An environment's policy, and what it means to its robots. Nothing configured: everything goes live, minimal checks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from lekiwi_deploy.wire.link import TrialPolicy

TRIAL_S: Mapping[str, float] = MappingProxyType({"minimal": 10.0, "normal": 60.0, "strict": 300.0})
"""How long a deployment must stay healthy before it is good, in seconds, by `health_checks`."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The `policy` column of an environment, keys as in lekiwi.yaml. `rollback_on_error`: false, true, robot, wave or fleet."""

    auto_deploy: bool = True
    health_checks: str = "minimal"
    rollback_on_error: bool | str = True
    deployment_window: str | None = None


DEFAULT = Policy()


def trial_policy(policy: Policy | None) -> TrialPolicy:
    """How robots of an environment with `policy` (None: the defaults) judge a new deployment."""
    policy = policy or DEFAULT
    return TrialPolicy(
        checks=policy.health_checks,
        trial_s=TRIAL_S.get(policy.health_checks, TRIAL_S["minimal"]),
        roll_back=policy.rollback_on_error is not False,
    )
