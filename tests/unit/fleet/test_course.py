"""Gradual rollouts: shares, gates, soaks, limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from lekiwi_deploy.fleet.course import Course, Fate, Member, Pause, Turn, Waits, bucket, share_size, steps_of, turn
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
SALT = "rol_a"
CANARY = RolloutStep(robots=1, soak_s=120)
QUARTER = RolloutStep(percent=25, success=95, soak_s=600)


def fleet(size: int, **labels: str) -> list[Member]:
    return [Member(RobotId(f"kiwi-{number:03}"), Fate.FREE, labels=labels) for number in range(size)]


def with_fates(members: list[Member], ids: tuple[RobotId, ...], fate: Fate) -> list[Member]:
    return [replace(one, fate=fate) if one.id in ids else one for one in members]


def test_without_steps_everybody_is_asked_at_once() -> None:
    assert set(turn(Course(), fleet(40), SALT, NOW).ask) == {one.id for one in fleet(40)}


def test_a_canary_is_asked_alone_must_be_healthy_and_soaks_before_the_next_step() -> None:
    course, robots = Course(steps=(CANARY, QUARTER)), fleet(40)
    first = turn(course, robots, SALT, NOW)
    assert len(first.ask) == 1
    under_way = with_fates(robots, first.ask, Fate.UNDER_WAY)
    assert turn(first.course, under_way, SALT, NOW).waits is Waits.ROBOTS
    well = with_fates(robots, first.ask, Fate.HEALTHY)
    soaking = turn(first.course, well, SALT, NOW)
    assert (soaking.ask, soaking.waits, soaking.until) == ((), Waits.SOAK, NOW + timedelta(seconds=120))
    later = turn(soaking.course, well, SALT, NOW + timedelta(seconds=120))
    assert (later.course.at, len(later.ask)) == (1, 9)


def test_a_relapse_while_it_soaks_starts_the_soak_over() -> None:
    course = Course(steps=(CANARY,), passed_at=NOW - timedelta(seconds=100))
    robots = fleet(3)
    ids = (robots[0].id,)
    relapsed = turn(course, with_fates(robots, ids, Fate.UNDER_WAY), SALT, NOW)
    assert relapsed.course.passed_at is None
    again = turn(relapsed.course, with_fates(robots, ids, Fate.HEALTHY), SALT, NOW)
    assert again.until == NOW + timedelta(seconds=120)


def test_a_canary_that_fails_stops_the_rollout() -> None:
    robots = fleet(40)
    ids = turn(Course(steps=(CANARY,)), robots, SALT, NOW).ask
    failed = turn(Course(steps=(CANARY,)), with_fates(robots, ids, Fate.FAILED), SALT, NOW)
    assert failed.stopped == "it failed on 1 of 1 robots"
    assert failed.ask == ()


def test_too_many_failures_over_all_steps_stop_it_and_few_do_not() -> None:
    robots = fleet(100)
    ids = tuple(one.id for one in robots)
    mixed = with_fates(with_fates(robots, ids, Fate.HEALTHY), ids[:2], Fate.FAILED)
    assert turn(Course(), mixed, SALT, NOW).stopped is None
    assert turn(Course(), with_fates(mixed, ids[:3], Fate.FAILED), SALT, NOW).stopped == "it failed on 3 of 100 robots"
    strict = Course(max_failures=0)
    assert turn(strict, with_fates(mixed, ids[1:2], Fate.HEALTHY), SALT, NOW).stopped == "it failed on 1 of 100 robots"


def test_one_early_failure_stops_nobody_while_others_still_try() -> None:
    robots = with_fates(
        with_fates(fleet(15), tuple(one.id for one in fleet(15)), Fate.UNDER_WAY), (RobotId("kiwi-000"),), Fate.FAILED
    )
    assert turn(Course(), robots, SALT, NOW).stopped is None


def test_an_approval_step_waits_for_a_person() -> None:
    course = Course(steps=(RolloutStep(approval=True),))
    assert turn(course, fleet(3), SALT, NOW) == Turn(course, waits=Waits.APPROVAL)
    assert len(turn(Course(steps=course.steps, approved=(0,)), fleet(3), SALT, NOW).ask) == 3


def test_a_paused_rollout_asks_nobody() -> None:
    assert turn(Course(paused=Pause("anna", NOW)), fleet(3), SALT, NOW).ask == ()


def test_a_canary_that_is_off_is_not_chosen_while_others_are_there_and_alone_it_proves_nothing() -> None:
    first, *others = fleet(3)
    away = replace(first, online=False)
    assert turn(Course(steps=(CANARY,)), [away, *others], SALT, NOW).ask != (first.id,)
    asked = replace(away, fate=Fate.AWAY)
    assert turn(Course(steps=(CANARY,)), [asked], SALT, NOW).waits is Waits.NOBODY


def test_robots_that_are_off_hold_no_wave_up() -> None:
    robots = fleet(40)
    well = [replace(one, fate=Fate.HEALTHY) for one in robots[:9]]
    away = [replace(one, fate=Fate.AWAY, online=False) for one in robots[9:10]]
    decided = turn(
        Course(steps=(QUARTER,), passed_at=NOW - timedelta(hours=1)), [*well, *away, *robots[10:]], SALT, NOW
    )
    assert (decided.course.at, len(decided.ask)) == (1, 30)


def test_at_most_so_many_are_under_way_at_once_in_all_and_for_each_site() -> None:
    graz, linz = fleet(6, site="graz"), [replace(one, id=RobotId(f"l{one.id}")) for one in fleet(6, site="linz")]
    step = RolloutStep(max_unavailable=2, per="site")
    asked = turn(Course(steps=(step,)), [*graz, *linz], SALT, NOW).ask
    assert len(asked) == 4 and sum(one.startswith("l") for one in asked) == 2
    busy = with_fates(graz, (graz[0].id,), Fate.UNDER_WAY)
    assert len(turn(Course(in_flight=3), busy, SALT, NOW).ask) == 2


def test_canaries_by_label_come_first_and_only_they() -> None:
    canaries = [replace(one, labels={"canary": "yes"}) for one in fleet(2)]
    others = [replace(one, id=RobotId(f"o{one.id}")) for one in fleet(10)]
    decided = turn(Course(steps=(RolloutStep(select="canary=yes"),)), [*others, *canaries], SALT, NOW)
    assert set(decided.ask) == {one.id for one in canaries}


def test_robots_that_are_not_well_go_first() -> None:
    robots = fleet(20)
    broken = replace(robots[7], well=False)
    assert turn(Course(steps=(CANARY,)), [*robots[:7], broken, *robots[8:]], SALT, NOW).ask == (broken.id,)


@pytest.mark.parametrize(
    ("step", "size"),
    [(RolloutStep(percent=1), 1), (RolloutStep(percent=25), 3), (RolloutStep(robots=50), 10), (RolloutStep(), 10)],
)
def test_a_share_has_at_least_one_robot_and_at_most_all(step: RolloutStep, size: int) -> None:
    assert share_size(step, fleet(10)) == size


def test_the_order_differs_between_rollouts_and_is_even() -> None:
    ids = [one.id for one in fleet(500)]
    assert sorted(ids, key=lambda id: bucket(id, "rol_a")) != sorted(ids, key=lambda id: bucket(id, "rol_b"))
    assert 200 < sum(bucket(id, "rol_a") < 0.5 for id in ids) < 300


FATES = some.sampled_from(list(Fate))
STEPS = some.builds(
    RolloutStep,
    robots=some.none() | some.integers(1, 20),
    percent=some.none() | some.floats(1, 100),
    success=some.floats(0, 100),
    soak_s=some.floats(0, 1000),
    max_unavailable=some.none() | some.integers(1, 5),
)


@given(
    some.lists(STEPS, max_size=4),
    some.lists(some.tuples(FATES, some.booleans()), max_size=30),
    some.none() | some.integers(1, 5),
)
def test_nobody_is_asked_twice_or_beyond_the_share_and_only_who_is_free(
    steps: list[RolloutStep], fates: list[tuple[Fate, bool]], in_flight: int | None
) -> None:
    members = [Member(RobotId(f"r{number}"), fate, online=online) for number, (fate, online) in enumerate(fates)]
    decided = turn(Course(steps=tuple(steps), in_flight=in_flight), members, SALT, NOW)
    by_id = {one.id: one for one in members}
    assert all(by_id[id].fate is Fate.FREE for id in decided.ask)
    assert len(set(decided.ask)) == len(decided.ask)
    if decided.ask:
        step = steps_of(tuple(steps))[decided.course.at]
        asked = sum(one.asked for one in members)
        assert asked + len(decided.ask) <= share_size(step, members)
        under_way = sum(one.fate is Fate.UNDER_WAY for one in members)
        online = sum(by_id[id].online for id in decided.ask)
        assert in_flight is None or not online or under_way + online <= in_flight
    assert decided.ask or decided.waits or decided.stopped or decided.over
    assert turn(decided.course, members, SALT, NOW) == decided


@given(some.lists(STEPS, min_size=1, max_size=3), some.integers(1, 25), some.randoms(use_true_random=False))
def test_a_rollout_whose_robots_all_become_healthy_reaches_everybody(
    steps: list[RolloutStep], size: int, dice: object
) -> None:
    members, course, now = fleet(size), Course(steps=tuple(steps)), NOW
    for _ in range(500):
        decided = turn(course, members, SALT, now)
        course = decided.course
        assert decided.stopped is None
        if decided.over:
            break
        members = with_fates(members, tuple(one.id for one in members if one.fate is Fate.UNDER_WAY), Fate.HEALTHY)
        members = with_fates(members, decided.ask, Fate.UNDER_WAY)
        now = decided.until or now
    assert decided.over and all(one.fate is Fate.HEALTHY for one in members)


def test_late_joiners_are_asked_at_the_same_rate_once_every_step_is_behind_it() -> None:
    done = with_fates(fleet(10), tuple(one.id for one in fleet(10)), Fate.HEALTHY)
    late = [replace(one, id=RobotId(f"late-{one.id}")) for one in fleet(5)]
    decided = turn(Course(steps=(CANARY,), at=2, in_flight=2), [*done, *late], SALT, NOW)
    assert decided.over and len(decided.ask) == 2


def test_a_rollout_that_stopped_stays_stopped_although_its_robots_recover() -> None:
    robots = fleet(10)
    ids = tuple(one.id for one in robots)
    stopped = turn(Course(max_failures=0), with_fates(robots, ids[:1], Fate.FAILED), SALT, NOW)
    assert stopped.stopped
    assert turn(stopped.course, with_fates(robots, ids[:1], Fate.HEALTHY), SALT, NOW).stopped == stopped.stopped
