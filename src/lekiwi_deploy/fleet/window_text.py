"""Windows as people write them: `22:00-06:00`, `Mon-Fri 22:00-06:00`, `Sat,Sun`, or cron's five fields with a length: `0 22 * * 1-5 for 8h`."""

from __future__ import annotations

import re
from datetime import date

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.windows import Dates, Opening

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"([01]?\d|2[0-4]):([0-5]\d)"
_SPAN = re.compile(rf"{_TIME}\s*-\s*{_TIME}\Z")
_CRON = re.compile(r"(\S+\s+\S+\s+\S+\s+\S+\s+\S+)\s+for\s+(\d+)\s*(m|min|h|d)\Z")
_DATES = re.compile(r"(\d{4}-\d\d-\d\d)(?:\s*(?:\.\.|to)\s*(\d{4}-\d\d-\d\d))?\Z")
_UNIT_S = {"m": 60, "min": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 7 * 86_400
_MIDNIGHT = 24 * 60
FORMS = "22:00-06:00, Mon-Fri 22:00-06:00, Sat,Sun, or 0 22 * * 1-5 for 8h"


def parse_opening(text: str) -> Opening:
    """One opening. Raises `BadInput` with the forms that there are."""
    text = re.sub(r"\s*-\s*", "-", " ".join(text.split()))
    if not text:
        raise _wrong(text)
    if match := _CRON.match(text):
        return _cron(match.group(1).split(), int(match.group(2)) * _UNIT_S[match.group(3)], text)
    days, _, times = text.rpartition(" ") if _SPAN.search(text.rpartition(" ")[2]) else (text, "", "00:00-24:00")
    match = _SPAN.match(times)
    if match is None:
        raise _wrong(text)
    first, last = _minutes(match.group(1), match.group(2), text), _minutes(match.group(3), match.group(4), text)
    if first in (_MIDNIGHT, last):
        raise BadInput(f"the window {text!r} has no length: write {FORMS}")
    weekdays = _weekdays(days, text) if days else tuple(range(7))
    return Opening(minutes=(first % 60,), hours=(first // 60,), weekdays=weekdays, end=last)


def opening_text(opening: Opening) -> str:
    """`opening` in words that `parse_opening` reads as the same."""
    if opening.end is not None:
        days = "" if len(opening.weekdays) == 7 else ",".join(_DAYS[day].title() for day in opening.weekdays) + " "
        return f"{days}{_clock(opening.hours[0] * 60 + opening.minutes[0])}-{_clock(opening.end)}"
    weekdays = tuple(sorted((day + 1) % 7 for day in opening.weekdays))
    days_text, weekdays_text = _listed(opening.days, 1, 31), _listed(weekdays, 0, 6)
    if opening.either:  # both are restricted, in cron's eyes: neither begins with a star
        days_text, weekdays_text = _numbers(opening.days), _numbers(weekdays)
    elif "*" not in (days_text[0], weekdays_text[0]):  # one of them began with a star, and was restricted all the same
        days_text = _starred(opening.days, 1, 31) or days_text
        if not days_text.startswith("*"):
            weekdays_text = _starred(weekdays, 0, 7) or weekdays_text
    fields = (
        _listed(opening.minutes, 0, 59),
        _listed(opening.hours, 0, 23),
        days_text,
        _listed(opening.months, 1, 12),
        weekdays_text,
    )
    return f"{' '.join(fields)} for {opening.length_s / 60:.0f}m"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _numbers(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _listed(values: tuple[int, ...], low: int, high: int) -> str:
    return "*" if values == tuple(range(low, high + 1)) else _numbers(values)


def _starred(values: tuple[int, ...], low: int, high: int) -> str:
    """`values` in a form that begins with a star; empty when there is none."""
    for step in range(2, high - low + 2):
        every = set(range(low, high + 1, step))
        if {value % 7 for value in every} <= set(values) if low == 0 else every <= set(values):
            rest = [value for value in values if value not in every]
            return ",".join([f"*/{step}", *map(str, rest)])
    return ""


def parse_dates(text: str) -> Dates | None:
    """`2026-12-24` or `2026-12-24..2026-12-26`; None when it is neither. Raises `BadInput` for a day that there is not."""
    match = _DATES.match(text.strip())
    if match is None:
        return None
    try:
        first = date.fromisoformat(match.group(1))
        last = date.fromisoformat(match.group(2)) if match.group(2) else first
    except ValueError as error:
        raise BadInput(f"{text!r}: {error}") from None
    if last < first:
        raise BadInput(f"{text!r} ends before it begins")
    return Dates(first, last)


def _minutes(hours: str, minutes: str, text: str) -> int:
    found = int(hours) * 60 + int(minutes)
    if found > _MIDNIGHT:
        raise _wrong(text)
    return found


def _weekdays(text: str, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.strip().partition("-")
        if first[:3] not in _DAYS or (dash and last[:3] not in _DAYS) or not (first and (last or not dash)):
            raise _wrong(whole)
        start = _DAYS.index(first[:3])
        length = (_DAYS.index(last[:3]) - start) % 7 if dash else 0
        found.update((start + number) % 7 for number in range(length + 1))
    return tuple(sorted(found))


def _cron(fields: list[str], length_s: int, text: str) -> Opening:
    if not 60 <= length_s <= _LONGEST_S:
        raise BadInput(f"the window {text!r} must last from one minute to seven days")
    minute, hour, day, month, weekday = fields
    weekdays = {(number - 1) % 7 for number in _field(weekday, 0, 7, text, _DAYS, first=1)}
    return Opening(
        minutes=_field(minute, 0, 59, text),
        hours=_field(hour, 0, 23, text),
        days=_field(day, 1, 31, text),
        months=_field(month, 1, 12, text, _MONTHS, first=1),
        weekdays=tuple(sorted(weekdays)),
        either=not day.startswith("*") and not weekday.startswith("*"),
        length_s=float(length_s),
    )


def _field(text: str, low: int, high: int, whole: str, names: tuple[str, ...] = (), first: int = 0) -> tuple[int, ...]:
    """One field of cron(5): `*`, `1-5`, `*/15`, `mon`, and lists of these."""
    found: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step = part.partition("/")
        if slash and (not step.isdecimal() or int(step) == 0):
            raise _wrong(whole)
        if span == "*":
            start, end = low, high
        else:
            begin, dash, finish = span.partition("-")
            start = _number(begin, low, high, whole, names, first)
            end = _number(finish, low, high, whole, names, first) if dash else (high if slash else start)
        if end < start:
            raise _wrong(whole)
        found.update(range(start, end + 1, int(step) if slash else 1))
    return tuple(sorted(found))


def _number(text: str, low: int, high: int, whole: str, names: tuple[str, ...], first: int) -> int:
    if text in names:
        return names.index(text) + first
    if not text.isdecimal() or len(text) > 2 or not low <= int(text) <= high:
        raise _wrong(whole)
    return int(text)


def _wrong(text: str) -> BadInput:
    return BadInput(f"the window {text[:80]!r} cannot be read: write {FORMS}")
