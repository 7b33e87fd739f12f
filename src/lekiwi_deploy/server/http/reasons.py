"""Why a person changes something, in their words."""

from __future__ import annotations

from lekiwi_deploy.errors import BadInput

MAX_REASON = 1000


def checked_reason(reason: str) -> str:
    """`reason`, if it can be kept. Raises `BadInput`."""
    if len(reason) > MAX_REASON or "\0" in reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    return reason
