"""The deployment window of the robot's environment, on the robot's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from lekiwi_deploy.wire.reasons import WindowClosed
from lekiwi_deploy.wire.windows import Closed, Windows, look


def closed(windows: Windows | None, now: datetime, root: Path) -> WindowClosed | None:
    """Why not to switch at `now`; None: the window is open, or there is none. `root`: where the robot's /etc is."""
    if windows is None:
        return None
    zone = _zone(windows.zone, root)
    if isinstance(zone, str):
        return WindowClosed(window=windows.text, opens=None, why=zone)
    state = look(windows, now, zone)
    return WindowClosed(window=windows.text, opens=state.opens) if isinstance(state, Closed) else None


def _zone(name: str | None, root: Path) -> tzinfo | str:
    """The zone of that name, None: the robot's own; or why it cannot be told. A window in a zone that nobody knows stays closed: a robot that
    switches at the wrong hour may do harm, and one that waits says so."""
    if name is not None:
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            return f"this robot does not know the time zone {name} (apt install tzdata)"
    try:
        with (root / "etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC
