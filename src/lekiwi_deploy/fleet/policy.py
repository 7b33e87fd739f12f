"""What an environment's policy means to its robots."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lekiwi_deploy.wire.link import TrialPolicy

TRIAL_S: Mapping[str, float] = MappingProxyType({"minimal": 10.0, "normal": 60.0, "strict": 300.0})
"""How long a deployment must stay healthy before it is good, in seconds, by `health_checks`."""


def trial_policy(health_checks: str, rollback_on_error: bool | str) -> TrialPolicy:
    """How robots of an environment judge a new deployment. `rollback_on_error`: false, true, robot, wave or fleet."""
    return TrialPolicy(checks=health_checks, trial_s=TRIAL_S[health_checks], roll_back=rollback_on_error is not False)
