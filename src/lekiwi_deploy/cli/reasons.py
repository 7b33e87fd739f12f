"""For how long, and when, something holds a robot back, as a person reads it. Pure: now is an argument."""

from __future__ import annotations

from datetime import datetime, timedelta


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


def between(since: datetime, until: datetime | None, now: datetime) -> str:
    """`14:02-14:09` local time, `21 Nov 22:00-06:00` when that was on another day, `14:02-now` while it lasts."""
    begin, today = since.astimezone(), now.astimezone().date()
    day = "" if begin.date() == today else f"{begin:%d %b} "
    if until is None:
        return f"{day}{begin:%H:%M}-now"
    end = until.astimezone()
    seconds = ":%S" if end - begin < timedelta(minutes=1) else ""
    later = f"{end:%d %b} " if (end.date() - begin.date()).days > 1 else ""
    return f"{day}{begin:%H:%M{seconds}}-{later}{end:%H:%M{seconds}}"
