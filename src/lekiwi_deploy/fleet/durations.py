"""Times as people write them: `90s`, `2-hours-ago`, `"3 days ago"`, `yesterday 14:00`, `2026-08-21T14:00+02:00`.

One grammar for `--to`, `--since`, `--until`. A day is 24 h. A time without a zone is the asker's local time, given as a UTC offset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone

from lekiwi_deploy.errors import BadInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SHORT = re.compile(r"(\d{1,9})([smhdw])\Z", re.ASCII)
_AGO = re.compile(r"(\d{1,9})[- ](second|minute|hour|day|week)s?[- ]ago\Z", re.ASCII)
_YESTERDAY = re.compile(r"yesterday(?:[ t](\d{1,2}):(\d{2})(?::(\d{2}))?)?\Z", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[t ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(z|[+-]\d{2}:\d{2})?)?\Z",
    re.ASCII,
)
FORMS = "90s, 15m, 3h, 2d, 1w, 2-hours-ago, yesterday, 'yesterday 14:00', 2026-08-21, 2026-08-21T14:00"
"""The forms, for messages."""


@dataclass(frozen=True, slots=True)
class Ago:
    """So long before now."""

    span: timedelta


@dataclass(frozen=True, slots=True)
class Yesterday:
    """That time on the day before, local time; None: this time yesterday."""

    at: time | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A date and time; without tzinfo it is the asker's local time."""

    at: datetime


When = Ago | Yesterday | Moment


def parse_when(text: str) -> When | None:
    """The time that `text` names, or None when it has none of the forms of a time.

    Raises `BadInput` when it has the form of a time and is none (`2026-02-31`, `yesterday 25:00`).
    """
    word = " ".join(text.strip().lower().split())
    try:
        if found := _SHORT.match(word):
            return Ago(timedelta(seconds=int(found[1]) * _UNITS[found[2]]))
        if found := _AGO.match(word):
            return Ago(timedelta(seconds=int(found[1]) * _UNITS[found[2][0]]))
        if found := _YESTERDAY.match(word):
            if found[1] is None:
                return Yesterday(None)
            return Yesterday(time(int(found[1]), int(found[2]), int(found[3] or 0)))
        if found := _ISO.match(word):
            zone = (found[3] or "").replace("z", "+00:00")
            return Moment(datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{zone}"))
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{text[:80]!r} is no time that exists: {error}") from error
    return None


def local_zone(utc_offset_min: int) -> timezone:
    """The asker's zone, from their offset in minutes east of UTC. Raises `BadInput` beyond a day."""
    if not -1440 < utc_offset_min < 1440:
        raise BadInput(f"a UTC offset of {utc_offset_min} minutes does not exist")
    return timezone(timedelta(minutes=utc_offset_min))


def instant(when: When, now: datetime, utc_offset_min: int = 0) -> datetime:
    """The aware moment, in the asker's zone, that `when` means when asked at `now`.

    Raises `BadInput` when it lies outside the years that exist.
    """
    zone = local_zone(utc_offset_min)
    here = now.astimezone(zone)
    try:
        match when:
            case Ago(span):
                return here - span
            case Yesterday(at):
                before = here - timedelta(days=1)
                return before if at is None else datetime.combine(before.date(), at, zone)
            case Moment(at):
                return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)
    except OverflowError as error:
        raise BadInput("that is before all times that can be written") from error


def moment(text: str, now: datetime, utc_offset_min: int = 0, *, what: str = "the time") -> datetime:
    """What `text` means as an aware moment; `what` names it in the message (`--since`). Raises `BadInput`."""
    when = parse_when(text)
    if when is None:
        raise BadInput(f"{what} {text[:80]!r} is not understood; use one of: {FORMS}")
    return instant(when, now, utc_offset_min)


def span_text(seconds: float) -> str:
    """`90s`, `10m`, `4h`, `7d`: in the largest unit that it is a whole number of."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
