"""Reasons as a person reads them here: times in local time, and for how long. Pure: now is an argument."""

from __future__ import annotations

from datetime import datetime, tzinfo

import msgspec

from lekiwi_deploy.wire.reasons import Reason


def local(reason: Reason, zone: tzinfo | None) -> Reason:
    """`reason` with its times in `zone` (None: that of this machine), so that its sentence shows them so."""
    fields = {name: getattr(reason, name) for name in reason.__struct_fields__}
    times = {name: value.astimezone(zone) for name, value in fields.items() if isinstance(value, datetime)}
    return msgspec.structs.replace(reason, **times) if times else reason


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
