"""What held robots back before: spans put together, moments left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lekiwi_deploy.fleet.past import Span, of_fleet, of_robot
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.reasons import Busy, Reason, WindowClosed, key

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WINDOW = WindowClosed(window="22:00-06:00", opens=NOON + timedelta(hours=10))
TELEOP = Busy("anna", "teleop", NOON, None, "h1")


def span(reason: Reason, start: float, end: float | None, robot: str = "kiwi-1") -> Span:
    return Span(
        RobotId(robot),
        key(reason),
        reason,
        NOON + timedelta(minutes=start),
        NOON + timedelta(minutes=end) if end is not None else None,
    )


def test_what_held_a_robot_is_told_newest_first() -> None:
    told = of_robot([span(TELEOP, 0, 5), span(WINDOW, 122, 129)])
    assert [(one.text.split(":")[0], one.since, one.until) for one in told] == [
        ("outside the deployment window 22", NOON + timedelta(minutes=122), NOON + timedelta(minutes=129)),
        ("teleop", NOON, NOON + timedelta(minutes=5)),
    ]


def test_spans_of_one_reason_that_follow_on_each_other_are_one() -> None:
    (told,) = of_robot([span(WINDOW, 0, 5), span(WINDOW, 5, 9)])
    assert (told.since, told.until) == (NOON, NOON + timedelta(minutes=9))
    assert len(of_robot([span(WINDOW, 0, 5), span(WINDOW, 6, 9)])) == 2


def test_moments_are_left_out() -> None:
    assert of_robot([span(TELEOP, 0, 0.01)]) == ()
    assert of_fleet([span(TELEOP, 0, 0.01)]) == ()


def test_robots_that_waited_for_the_same_are_told_together() -> None:
    told = of_fleet(
        [span(WINDOW, 2, 480, f"kiwi-{number:02}") for number in range(12)]
        + [span(TELEOP, 0, 3, "kiwi-01"), span(WINDOW, 0, 9, "kiwi-01")]
    )
    assert [(one.robots, one.since, one.until) for one in told] == [
        (12, NOON, NOON + timedelta(minutes=480)),
        (1, NOON, NOON + timedelta(minutes=3)),
    ]
    assert told[0].names == ("kiwi-00", "kiwi-01", "kiwi-02", "kiwi-03", "kiwi-04")


def test_a_wait_that_goes_on_has_no_end() -> None:
    (told,) = of_fleet([span(WINDOW, 0, 5, "a"), span(WINDOW, 1, None, "b")])
    assert told.until is None
