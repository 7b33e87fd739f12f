"""The environment's window, on the robot's own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import TZPATH

import pytest

from lekiwi_deploy.agent.window import closed
from lekiwi_deploy.wire.reasons import WindowClosed
from lekiwi_deploy.wire.windows import Opening, Windows

NIGHT = Windows(openings=(Opening(minutes=(0,), hours=(22,), end=360),), text="22:00-06:00")
NOON = datetime(2026, 8, 21, 12, 0, tzinfo=UTC)


def test_without_a_window_any_time_will_do(tmp_path: Path) -> None:
    assert closed(None, NOON, tmp_path) is None


def test_a_closed_window_says_when_it_opens_by_the_robots_own_clock(tmp_path: Path) -> None:
    zone = next(
        (Path(folder) / "Europe/Vienna" for folder in TZPATH if (Path(folder) / "Europe/Vienna").exists()), None
    )
    if zone is None:
        pytest.skip("this machine has no time zones (apt install tzdata)")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").symlink_to(zone)
    assert closed(NIGHT, NOON, tmp_path) == WindowClosed(window="22:00-06:00", opens=NOON.replace(hour=20))
    assert closed(NIGHT, NOON.replace(hour=20), tmp_path) is None


def test_a_robot_without_a_zone_of_its_own_goes_by_utc(tmp_path: Path) -> None:
    assert closed(NIGHT, NOON, tmp_path) == WindowClosed(window="22:00-06:00", opens=NOON.replace(hour=22))


def test_a_zone_that_nobody_knows_keeps_the_window_closed_and_says_why(tmp_path: Path) -> None:
    from msgspec.structs import replace

    reason = closed(replace(NIGHT, zone="Mars/Olympus"), NOON, tmp_path)
    assert reason is not None and reason.opens is None and "Mars/Olympus" in reason.why
