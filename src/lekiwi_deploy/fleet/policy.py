"""What an environment's policy means to its robots."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lekiwi_deploy.wire.link import TrialPolicy
from lekiwi_deploy.wire.policy import Policy, Undo

TRIAL_S: Mapping[str, float] = MappingProxyType({"minimal": 10.0, "normal": 60.0, "strict": 300.0})
"""How long a deployment must stay healthy before it is good, in seconds, by `health_checks`."""


def trial_policy(policy: Policy, *, anytime: bool = False) -> TrialPolicy:
    """How robots of an environment with this policy judge a new deployment, and when they may take it (`anytime`: windows do not count)."""
    return TrialPolicy(
        checks=policy.health_checks,
        trial_s=TRIAL_S[policy.health_checks],
        roll_back=policy.undo is not Undo.NOTHING,
        window=None if anytime else policy.window,
    )
