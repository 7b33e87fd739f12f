"""A deployment window as lekiwi.yaml writes it: as it was written where that can be told from its text, else in cron's fields or on the clock."""

from __future__ import annotations

from collections.abc import Sequence

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.window_text import opening_text, parse_dates, parse_opening
from lekiwi_deploy.wire.windows import Dates, Opening, Times, Windows


def window_data(windows: Windows) -> str | list[object] | dict[str, object]:
    """What YAML holds of it: one window, a list of them, or a mapping with exceptions and a zone."""
    openings = _as_written(windows) or [opening_text(one) for one in windows.openings]
    if not windows.exceptions and windows.zone is None:
        return openings[0] if len(openings) == 1 else list(openings)
    data: dict[str, object] = {"open": list(openings)}
    if windows.exceptions:
        data["except"] = [_exception(one) for one in windows.exceptions]
    if windows.zone is not None:
        data["zone"] = windows.zone
    return data


def _as_written(windows: Windows) -> list[str]:
    """The openings in the words of whoever wrote them; empty when the text does not tell them apart."""
    text = windows.text
    if windows.zone is not None:
        text = text.removesuffix(f" {windows.zone}")
    parts = text.partition(" except ")[0].split(", ")
    return parts if _read(parts) == list(windows.openings) else []


def _read(parts: Sequence[str]) -> list[Opening]:
    try:
        return [parse_opening(part) for part in parts]
    except BadInput:
        return []


def _exception(one: Dates | Times) -> str:
    if isinstance(one, Times):
        return opening_text(one.closed)
    text = one.first.isoformat() if one.first == one.last else f"{one.first.isoformat()}..{one.last.isoformat()}"
    assert parse_dates(text) == one
    return text
