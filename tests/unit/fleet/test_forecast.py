"""The forecast says what the real plan does: same order, same steps, and it always ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.forecast import foresee, step_text
from lekiwi_deploy.fleet.rollout import Seen, Target, plan
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.reasons import NeverJoined, Offline, Pinned

NOW = datetime(2026, 11, 23, 14, 2, tzinfo=UTC)
TARGET = Target(
    deployment=DeploymentId("dep_7kQ2mX4b"),
    digest=ManifestDigest("a" * 64),
    created_at=NOW,
    kind="deploy",
    epoch=1,
    rollout="rol_1",
)
STEPS = (RolloutStep(robots=1, soak_s=120), RolloutStep(percent=25, soak_s=600), RolloutStep(approval=True))


def robots(count: int, *, off: int = 0) -> list[Seen]:
    return [
        Seen(RobotId(f"r{number:03}"), online=number >= off, last_seen_at=NOW - timedelta(days=1))
        for number in range(count)
    ]


def test_each_robot_is_in_the_step_in_which_the_plan_asks_it() -> None:
    found = foresee(TARGET, robots(20), NOW, Course(steps=STEPS))
    assert [one.robots for one in found.steps] == [1, 4, 15]
    first = plan(TARGET, robots(20), NOW, Course(steps=STEPS)).assign
    assert [robot for robot, step in found.step.items() if step == 1] == list(first)


def test_a_step_begins_when_those_before_it_have_soaked() -> None:
    found = foresee(TARGET, robots(20), NOW, Course(steps=STEPS))
    assert [one.not_before for one in found.steps] == [NOW, NOW + timedelta(seconds=120), NOW + timedelta(seconds=720)]


def test_limits_on_how_many_at_once_change_no_step() -> None:
    bound = Course(steps=(RolloutStep(robots=4, max_unavailable=1), RolloutStep()), in_flight=2)
    free = Course(steps=(RolloutStep(robots=4), RolloutStep()))
    assert foresee(TARGET, robots(12), NOW, bound).step == foresee(TARGET, robots(12), NOW, free).step


def test_robots_that_run_it_already_are_in_no_step() -> None:
    there = frozenset(robot.id for robot in robots(3))
    found = foresee(TARGET, robots(12), NOW, Course(), there)
    assert not there & found.step.keys()
    assert len(found.step) == 9


def test_a_robot_that_may_not_have_it_is_in_no_step_and_says_why() -> None:
    pin = Pinned("dep_8jK4mN9p", "anna", NOW + timedelta(hours=1))
    found = foresee(
        TARGET, [Seen(RobotId("a"), pin=pin), Seen(RobotId("b"), joined=False), Seen(RobotId("c"))], NOW, Course()
    )
    assert list(found.step) == ["c"]
    assert found.standings[RobotId("a")].waiting == (pin,)
    assert found.standings[RobotId("b")].waiting == (NeverJoined(),)


def test_a_step_that_has_nobody_there_is_told_as_the_one_where_it_waits() -> None:
    found = foresee(TARGET, robots(4, off=4), NOW, Course(steps=(RolloutStep(robots=1), RolloutStep())))
    assert found.stuck == 1
    assert sum(one.robots for one in found.steps) == 4
    assert all(isinstance(one.waiting[0], Offline) for one in found.standings.values() if one.waiting and one.reachable)


def test_no_robots_is_no_forecast() -> None:
    assert foresee(TARGET, [], NOW, Course(steps=STEPS)).step == {}


def test_a_step_is_said_in_words() -> None:
    step = RolloutStep(percent=25, soak_s=600, approval=True, select="hw=v2", max_unavailable=2, per="site")
    assert step_text(step) == "after an approval, robots with hw=v2, until 25 % in all, 2 at once per site, soak 10m"


steps = st.lists(
    st.one_of(
        st.builds(RolloutStep, robots=st.integers(1, 9), soak_s=st.sampled_from([0.0, 60.0]), approval=st.booleans()),
        st.builds(RolloutStep, percent=st.integers(1, 100).map(float), select=st.sampled_from([None, "hw=v2"])),
    ),
    max_size=4,
)


@given(steps, st.integers(0, 30), st.integers(0, 30))
def test_everybody_who_may_have_it_comes_in_exactly_one_step(course: list[RolloutStep], count: int, off: int) -> None:
    found = foresee(TARGET, robots(count, off=min(off, count)), NOW, Course(steps=tuple(course)))
    assert len(found.step) == count
    assert sum(one.robots for one in found.steps) == count
    times = [one.not_before for one in found.steps if one.not_before is not None]
    assert times == sorted(times)


def test_robots_that_are_off_are_left_out_where_the_policy_says_so() -> None:
    target = replace(TARGET, began=NOW, skip_offline=True)
    found = foresee(target, robots(4, off=1), NOW, Course(skip_offline=True))
    assert len(found.step) == 3
    assert found.standings[RobotId("r000")].waiting
