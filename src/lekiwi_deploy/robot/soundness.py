"""Whether what came over the link may be believed to come from a server of ours: it names folders and files here. PURE."""

from __future__ import annotations

import re

from lekiwi_deploy.wire.ids import is_digest
from lekiwi_deploy.wire.link import DeploymentRef, Desired

_DEPLOYMENT = re.compile(r"dep_[0-9A-Za-z]{8}\Z")
_LONGEST = 10_000
_LARGEST = 2**53


def unsound(desired: Desired) -> str | None:
    """What is wrong with `desired`, in a few words; None: nothing."""
    if not (0 <= desired.epoch <= _LARGEST and 0 <= desired.generation <= _LARGEST):
        return "its numbers are too large"
    if not 1 <= desired.max_deployments <= 100_000:
        return f"{desired.max_deployments} deployments cannot be retained"
    policy = desired.policy
    if not (0 <= policy.trial_s <= 7 * 86400 and 1 <= policy.starts <= 100):
        return "its trial has no sensible length"
    if not _short(desired.environment, desired.ticket, policy.checks):
        return "it holds texts without end"
    return _unsound_ref(desired.deployment) if desired.deployment is not None else None


def _unsound_ref(ref: DeploymentRef) -> str | None:
    if not _DEPLOYMENT.match(ref.id):
        return f"{ref.id[:40]!r} names no deployment"
    if not is_digest(ref.digest):
        return f"{ref.id} has no digest"
    if not 0 <= ref.manifest_size <= _LARGEST:
        return f"{ref.id} has no sensible size"
    if not _short(ref.version, ref.commit, ref.branch, ref.author):
        return f"what is said of {ref.id} has no end"
    return None


def _short(*texts: str | None) -> bool:
    return all(text is None or (len(text) <= _LONGEST and "\0" not in text) for text in texts)
