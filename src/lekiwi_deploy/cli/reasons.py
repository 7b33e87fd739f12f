"""For how long something holds a robot back, as a person reads it. Pure: now is an argument."""

from __future__ import annotations

from datetime import datetime


def how_long(since: datetime | None, now: datetime) -> str:
    """`for 12 minutes`; empty when that is not known."""
    if since is None:
        return ""
    seconds = (now - since).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"for {count} {unit}{'' if count == 1 else 's'}"
    return f"for {max(0, int(seconds))} s"
