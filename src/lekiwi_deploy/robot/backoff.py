"""How long to wait before trying again: full jitter, so that a fleet that failed together does not come back together.

`randomness` is a number in [0, 1) that the caller draws.
"""

from __future__ import annotations

_MAX_DOUBLINGS = 30


def full_jitter(attempt: int, *, base_s: float, cap_s: float, randomness: float) -> float:
    """Seconds in [0, min(cap_s, base_s * 2**attempt)); `attempt` counts from 0."""
    return randomness * min(cap_s, base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))


def reconnect_delay(attempt: int, randomness: float, *, cap_s: float = 60.0) -> float:
    """Seconds until the next connection to the server: the bound doubles from 1 s to `cap_s`."""
    return full_jitter(attempt, base_s=1.0, cap_s=max(1.0, cap_s), randomness=randomness)


def restart_delay(exits: int, randomness: float) -> float:
    """Seconds until a service that exited `exits` times in a row (at least 1) is started again: 50 ms at least, 30 s at most."""
    return 0.05 + full_jitter(max(0, exits - 1), base_s=0.1, cap_s=30.0, randomness=randomness)


def fetch_delay(failures: int, randomness: float) -> float:
    """Seconds until content is asked for again after `failures` (at least 1) in a row: 0.2 s at least, 60 s at most."""
    return 0.2 + full_jitter(max(0, failures - 1), base_s=1.0, cap_s=60.0, randomness=randomness)
