"""When a robot may switch: openings on its own wall clock, and exceptions from them.

Defined for every clock change. An opening starts at a local time: one that a clock change skips starts when the skipped hour is over; one that
comes twice starts the first time. It ends at a local time in the same way (`end`), or when so much time has really passed (`length_s`).
Decided anew from the wall clock at each look, so a clock that jumps only moves the robot into or out of a window, and leaves nothing behind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

import msgspec

HORIZON_DAYS = 400
"""How far ahead the next opening is looked for."""
_DAY_MIN = 24 * 60


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Local times at which something opens, as cron(5) says them, and until when. `minutes` 0-59, `hours` 0-23, `days` of the month 1-31,
    `months` 1-12, `weekdays` 0 (Monday) to 6. `either`: a day fits when its day of the month *or* its weekday does (cron's rule when both
    are restricted). `end`: minutes after local midnight, of the next day when it is not after the start; else `length_s` seconds."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...] = tuple(range(1, 32))
    months: tuple[int, ...] = tuple(range(1, 13))
    weekdays: tuple[int, ...] = tuple(range(7))
    either: bool = False
    end: int | None = None
    length_s: float = 0.0


class Dates(msgspec.Struct, frozen=True, tag="dates", tag_field="except"):
    """Whole local days, both included."""

    first: date
    last: date


class Times(msgspec.Struct, frozen=True, tag="times", tag_field="except"):
    """Closed although an opening says otherwise."""

    closed: Opening


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """Open while one of `openings` is and no exception holds. `zone`: IANA name; None: the robot's own. `text`: as it was written."""

    openings: tuple[Opening, ...]
    exceptions: tuple[Dates | Times, ...] = ()
    zone: str | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """Until `until` (UTC); None: longer than anybody looks ahead."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Closed:
    """Until `opens` (UTC); None: nothing opens within `HORIZON_DAYS`."""

    opens: datetime | None


def look(windows: Windows, now: datetime, zone: tzinfo) -> Open | Closed:
    """Whether `now` (aware) lies in a window. `zone`: the one that `windows.zone` names, else the robot's own."""
    now = now.astimezone(UTC)
    state: Open | Closed | None = None
    for start, end in _open_spans(windows, now, zone):
        if state is None:
            if end <= now:
                continue
            if now < start:
                return Closed(start)
            state = Open(end)
        elif isinstance(state, Open) and state.until is not None and start <= state.until:
            state = Open(max(state.until, end))
        else:
            break
        if isinstance(state, Open) and state.until is not None and state.until - now > timedelta(days=HORIZON_DAYS - 8):
            return Open(None)
    return state if state is not None else Closed(None)


def spans(windows: Windows, first: datetime, last: datetime, zone: tzinfo) -> list[tuple[datetime, datetime]]:
    """Every open span that touches [first, last), merged, in UTC: what a calendar draws."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in _open_spans(windows, first.astimezone(UTC), zone):
        if start >= last:
            break
        if end <= first:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _open_spans(windows: Windows, around: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """Spans that are open, exceptions taken out, by start; from before `around` to the horizon."""
    back = max((_days(opening) for opening in windows.openings), default=0)
    begin = around.astimezone(zone).date() - timedelta(days=back + 1)
    closures = _Closures(windows.exceptions, zone)
    pending: list[tuple[datetime, datetime]] = []
    for number in range(HORIZON_DAYS + back + 1):
        day = begin + timedelta(days=number)
        whole = [span for opening in windows.openings for span in _of_day(opening, day, zone)]
        if whole:
            pending = sorted(pending + [piece for span in whole for piece in closures.without(span)])
        # What starts on a later day starts after this day's end: these may go out, in order.
        until = _instant(day + timedelta(days=1), 0, zone) if pending else None
        while pending and until is not None and pending[0][0] < until:
            yield pending.pop(0)


class _Closures:
    """What the exceptions close, worked out once for each local day."""

    def __init__(self, exceptions: tuple[Dates | Times, ...], zone: tzinfo) -> None:
        self._zone = zone
        self._times = [one.closed for one in exceptions if isinstance(one, Times)]
        self._always = [
            (_instant(one.first, 0, zone), _instant(one.last + timedelta(days=1), 0, zone))
            for one in exceptions
            if isinstance(one, Dates)
        ]
        self._back = max((_days(closed) for closed in self._times), default=0)
        self._known: dict[date, list[tuple[datetime, datetime]]] = {}

    def without(self, span: tuple[datetime, datetime]) -> list[tuple[datetime, datetime]]:
        """What is left of an open span."""
        parts = [span]
        for closed in [*self._always, *self._around(span)]:
            parts = [piece for part in parts for piece in _cut(part, closed)]
        return parts

    def _around(self, span: tuple[datetime, datetime]) -> Iterator[tuple[datetime, datetime]]:
        if not self._times:
            return
        day = span[0].astimezone(self._zone).date() - timedelta(days=self._back + 1)
        last = span[1].astimezone(self._zone).date()
        while day <= last:
            if day not in self._known:
                self._known[day] = [found for closed in self._times for found in _of_day(closed, day, self._zone)]
            yield from self._known[day]
            day += timedelta(days=1)


def _days(opening: Opening) -> int:
    """On how many local days after the one on which it starts an opening can still be open."""
    return 1 if opening.end is not None else math.ceil(opening.length_s / 86_400)


def _cut(part: tuple[datetime, datetime], closed: tuple[datetime, datetime]) -> list[tuple[datetime, datetime]]:
    if closed[1] <= part[0] or part[1] <= closed[0]:
        return [part]
    pieces = [(part[0], closed[0]), (closed[1], part[1])]
    return [piece for piece in pieces if piece[0] < piece[1]]


def _of_day(opening: Opening, day: date, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    if day.month not in opening.months:
        return
    dates, weekdays = day.day in opening.days, day.weekday() in opening.weekdays
    if not (dates or weekdays if opening.either else dates and weekdays):
        return
    for hour in opening.hours:
        for minute in opening.minutes:
            at = hour * 60 + minute
            start = _instant(day, at, zone)
            if opening.end is None:
                end = start + timedelta(seconds=opening.length_s)
            else:
                end = _instant(day if opening.end > at else day + timedelta(days=1), opening.end, zone)
            if start < end:
                yield start, end


def _instant(day: date, minutes: int, zone: tzinfo) -> datetime:
    """The moment (UTC) of a local time; the first of two, or the end of the gap that swallowed it."""
    if minutes >= _DAY_MIN:
        day, minutes = day + timedelta(days=minutes // _DAY_MIN), minutes % _DAY_MIN
    local = datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # In a gap the two readings (fold 0, fold 1) lie on either side of the jump; the jump is where local time passes this one.
    low, high = sorted((moment, local.replace(fold=1).astimezone(UTC)))
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).replace(tzinfo=None) < local.replace(tzinfo=None):
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
