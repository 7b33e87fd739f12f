"""What a person reads of robots that hold a deployment off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lekiwi_deploy.cli.narrator import Narrator
from lekiwi_deploy.cli.reasons import how_long
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.cli.verbs.robot_events import when
from lekiwi_deploy.cli.verdict import verdict
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId, RolloutId
from lekiwi_deploy.wire.progress import Progress, RobotMoved, RolloutFinished, RolloutStarted
from lekiwi_deploy.wire.reasons import Busy, LowDisk, NeverJoined, Offline, Reason, in_zone, sentence
from lekiwi_deploy.wire.why import RobotEvent

NOW = datetime(2026, 8, 21, 14, tzinfo=UTC)
ROL = RolloutId("rol_BBBBBBBB")
TELEOP = Busy("anna", "teleop", NOW, NOW + timedelta(minutes=20), "h3")


def end(*waiting: Reason, live: int = 0) -> str:
    """The last lines of a rollout on two robots, one of which is pending for these reasons."""
    narrator = Narrator()
    started = RolloutStarted(ROL, DeploymentId("dep_AAAAAAAA"), "v2", EnvironmentName("production"), 2)
    moved = RobotMoved(robot=RobotId("kiwi-2"), status="pending", waiting=waiting)
    finished = RolloutFinished(status="done", live=live, pending=1, failed=0, total=2, seconds=1.2, undo="")
    for number, body in enumerate((started, moved, finished)):
        narrator.tell(Progress(ROL, number, NOW, body))
    told = verdict(narrator, 1.2)
    assert told.code == 0
    return "\n".join("".join(cell.text if isinstance(cell, Cell) else cell for cell in line) for line in told.lines)


def test_robots_that_hold_off_are_not_called_offline() -> None:
    said = end(TELEOP)
    assert "Nothing is switched yet: 1 robot will follow when nothing holds them back" in said
    assert "kiwi-2  teleop: held by anna until 14:20:00" in said
    assert "lekiwi why kiwi-2" in said


def test_robots_that_are_offline_are() -> None:
    said = end(Offline(None))
    assert "No robot is online" in said
    assert "lekiwi why" not in said


def test_beside_robots_that_switched_it_is_named_with_its_reasons() -> None:
    said = end(TELEOP, LowDisk(100_000_000, 42_000_000), live=1)
    assert "Deployed successfully on 1/2 robots, 1 pending" in said
    assert "held by anna until 14:20:00; disk nearly full: 42.0 MB free" in said


def test_times_in_reasons_are_shown_where_the_reader_is() -> None:
    zone = timezone(timedelta(hours=2))
    assert sentence(in_zone(TELEOP, zone)) == "teleop: held by anna until 16:20:00"
    assert in_zone(NeverJoined(), zone) == NeverJoined()


@pytest.mark.parametrize(
    ("passed", "words"),
    [(0, "for 0 s"), (59, "for 59 s"), (60, "for 1 minute"), (7200, "for 2 hours"), (200_000, "for 2 days")],
)
def test_how_long_a_reason_lasts_is_told_in_words(passed: float, words: str) -> None:
    assert how_long(NOW - timedelta(seconds=passed), NOW) == words
    assert how_long(None, NOW) == ""


def test_an_event_of_a_robot_with_a_wrong_clock_is_dated_by_the_server() -> None:
    wrong = RobotEvent(seq=1, at=datetime(1970, 1, 1, tzinfo=UTC), told_at=NOW, kind="held", text="x")
    assert when(wrong, NOW + timedelta(minutes=2)) == "2 minutes ago (its clock is wrong)"
    late = RobotEvent(seq=1, at=NOW - timedelta(hours=3), told_at=NOW, kind="held", text="x")
    assert when(late, NOW) == "3 hours ago"
