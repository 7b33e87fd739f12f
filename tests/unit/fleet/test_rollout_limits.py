"""No more robots are under way at once than may be, also where some are off or wait for their window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.cohort import Fate, Member
from lekiwi_deploy.fleet.course import Course, Waits, turn
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FATES = st.lists(st.sampled_from(list(Fate)), max_size=30)


def members(fates: list[Fate]) -> list[Member]:
    return [Member(RobotId(f"r{number:02}"), fate, fate is not Fate.OFF) for number, fate in enumerate(fates)]


@given(FATES, st.integers(1, 6))
def test_who_is_asked_and_who_has_the_room_are_no_more_than_may_be(fates: list[Fate], limit: int) -> None:
    asked = turn(Course(in_flight=limit), members(fates), "rol_1", NOW).ask
    taken = sum(fate in (Fate.UNDER_WAY, Fate.LEASED, Fate.SHUT) for fate in fates)
    assert len(asked) + taken <= max(limit, taken)


@given(FATES)
def test_whoever_is_off_is_not_asked_where_room_is_short(fates: list[Fate]) -> None:
    asked = turn(Course(in_flight=3), members(fates), "rol_1", NOW).ask
    off = {one.id for one in members(fates) if one.fate is Fate.OFF}
    assert not off & set(asked)


def test_a_canary_that_is_off_is_waited_for_and_not_passed_over() -> None:
    course = Course(steps=(RolloutStep(robots=1, soak_s=1.0),), in_flight=1)
    found = turn(course, members([Fate.OFF, Fate.OFF]), "rol_1", NOW)
    assert (found.waits, found.course.at, found.nobody) == (Waits.NOBODY, 0, None)


def test_robots_that_are_off_hold_up_nobody_else() -> None:
    course = Course(steps=(RolloutStep(percent=50.0),), in_flight=2)
    found = turn(course, members([Fate.OFF, Fate.OFF, Fate.HEALTHY, Fate.FREE]), "rol_1", NOW + timedelta(seconds=1))
    assert found.course.at == 1 and len(found.ask) == 1


def test_nobody_is_made_to_watch_for_a_window_that_has_all_the_room() -> None:
    found = turn(Course(in_flight=2), members([Fate.SHUT, Fate.SHUT, Fate.FREE]), "rol_1", NOW)
    assert found.ask == () and found.waits is None and not found.over


def test_a_robot_that_lost_its_link_keeps_its_room_for_a_while() -> None:
    found = turn(Course(in_flight=1), members([Fate.LEASED, Fate.FREE]), "rol_1", NOW)
    assert (found.ask, found.waits) == ((), Waits.ROBOTS)
