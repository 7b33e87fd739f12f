"""Times as people say them. Pure: now is an argument."""

from __future__ import annotations

import re
from datetime import datetime

from lekiwi_deploy.errors import BadInput

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?\Z")
_UNITS = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def ago(then: datetime | None, now: datetime) -> str:
    """`2 minutes ago`; what lies ahead of `now` (clocks differ) is `just now`; None is `never`."""
    if then is None:
        return "never"
    return _in_words((now - then).total_seconds(), "ago")


def ahead(then: datetime | None, now: datetime) -> str:
    """`in 15 minutes`; None is `never`."""
    if then is None:
        return "never"
    seconds = (then - now).total_seconds()
    return "now" if seconds <= 0 else "in " + _in_words(seconds, "").strip()


def _in_words(seconds: float, suffix: str) -> str:
    seconds = seconds if suffix else seconds + _half_a_unit(seconds)
    if seconds < 1 and suffix:
        return "just now"
    for unit, length, until in (("second", 1, 60), ("minute", 60, 3600), ("hour", 3600, 86400), ("day", 86400, None)):
        if until is None or seconds < until:
            count = max(1, int(seconds // length))
            return f"{count} {unit}{'' if count == 1 else 's'} {suffix}"
    raise AssertionError("the last unit has no end")


def _half_a_unit(seconds: float) -> float:
    """What is to come is rounded to the nearest: a token for 90 days must not say 89."""
    return 0.5 if seconds < 59.5 else 30 if seconds < 3570 else 1800 if seconds < 84600 else 43200


def span(seconds: float) -> str:
    """How long something took: `0.8s`, `12.4s`, `2m31s`, `1h05m`."""
    if seconds < 59.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def parse_span(text: str) -> float:
    """`10m`, `90s`, `1.5h`, `0` (bare numbers are seconds) in seconds. Raises `BadInput`."""
    found = _SPAN.match(text.strip())
    if not found:
        raise BadInput(f"{text[:40]!r} is not a time span such as 90s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def size(count: float) -> str:
    """Bytes as people read them: `512 B`, `3.1 kB`, `6.4 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def plural(count: int, noun: str) -> str:
    """`1 robot`, `15 robots`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
