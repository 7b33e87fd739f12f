"""Robots that are off in a rollout: who counts, who is waited for and how long, and what share must confirm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.course import Course, Fate, Member, turn
from lekiwi_deploy.fleet.rollout import Plan, Seen, Target, plan
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Phase, Report, Running
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.reasons import Expired, LaterStep, Offline, Skipped

BEGAN = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
DIGEST = ManifestDigest("a" * 64)
TARGET = Target(
    DeploymentId("dep_new00000"), DIGEST, BEGAN, "deploy", epoch=1, rollout="rol_1", began=BEGAN, expires=WEEK
)
CANARIES = Course(steps=(RolloutStep(robots=1, select="role=canary"),), expires_s=WEEK.total_seconds())


def off(number: int, *, asked: bool = False, since: datetime = BEGAN - timedelta(days=1), **labels: str) -> Seen:
    id = RobotId(f"off-{number}")
    given = {"assigned": 4, "assigned_at": BEGAN} if asked else {}
    return Seen(id, generation=4, online=False, last_seen_at=since, labels=labels, **given)  # type: ignore[arg-type]


def healthy(number: int) -> Seen:
    running = Running(deployment=TARGET.deployment, digest=DIGEST, healthy=True, good=True, since=BEGAN)
    report = Report(number=2, epoch=1, generation=4, phase=Phase.IDLE, running=running)
    return Seen(
        RobotId(f"well-{number}"), generation=4, assigned=4, assigned_at=BEGAN, report=report, last_seen_at=BEGAN
    )


def status(decided: Plan) -> RolloutStatus:
    return decided.verdict.status


def test_robots_that_are_off_hold_nothing_up_and_do_not_count() -> None:
    assert status(plan(TARGET, [healthy(1), off(1, asked=True)], BEGAN)) is RolloutStatus.DONE


def test_fewer_than_min_success_of_all_robots_is_partial_until_enough_came_back() -> None:
    course = Course(min_success=75.0)
    assert status(plan(TARGET, [healthy(1), off(1, asked=True)], BEGAN, course)) is RolloutStatus.PARTIAL
    assert (
        status(plan(TARGET, [healthy(1), healthy(2), healthy(3), off(1, asked=True)], BEGAN, course))
        is RolloutStatus.DONE
    )


def test_a_robot_that_was_off_at_the_start_is_left_out_and_does_not_count() -> None:
    target = replace(TARGET, skip_offline=True)
    course = Course(min_success=100.0, skip_offline=True)
    decided = plan(target, [healthy(1), off(1)], BEGAN + timedelta(minutes=1), course)
    assert decided.assign == ()
    assert status(decided) is RolloutStatus.DONE
    assert decided.waiting["off-1"] == (Offline(BEGAN - timedelta(days=1)), Skipped(rollout="rol_1"))  # type: ignore[index]
    assert (decided.verdict.skipped, decided.verdict.pending) == (1, 1)


def test_one_that_goes_off_only_later_is_asked_and_counts() -> None:
    target = replace(TARGET, skip_offline=True)
    decided = plan(target, [off(1, since=BEGAN + timedelta(seconds=1))], BEGAN + timedelta(minutes=5))
    assert decided.assign == ("off-1",)


def test_one_that_was_left_out_is_a_late_joiner_when_it_returns() -> None:
    target = replace(TARGET, skip_offline=True)
    back = replace(off(1), online=True, last_seen_at=BEGAN + timedelta(hours=1))
    assert plan(target, [healthy(1), back], BEGAN + timedelta(hours=1)).assign == ("off-1",)


def test_a_way_back_leaves_nobody_out() -> None:
    assert plan(replace(TARGET, kind="rollback"), [off(1)], BEGAN).assign == ("off-1",)


def test_a_canary_that_is_off_is_waited_for_and_then_not_any_more() -> None:
    robots = [off(1, asked=True, role="canary"), replace(off(2), online=True)]
    waits = plan(TARGET, robots, BEGAN + WEEK - timedelta(seconds=1), CANARIES)
    assert status(waits) is RolloutStatus.ROLLING
    assert waits.waits is not None
    assert waits.waits.what == "nobody"
    over = plan(TARGET, robots, BEGAN + WEEK, CANARIES)
    assert status(over) is RolloutStatus.PARTIAL
    assert over.assign == (), "nobody proved it, so nobody else is asked"
    assert over.nobody == "step 1: no robot took it within 7d"
    expired = Expired(since=BEGAN, limit_s=WEEK.total_seconds())
    assert over.waiting["off-1"] == (Offline(BEGAN - timedelta(days=1)), expired)  # type: ignore[index]
    assert isinstance(over.waiting["off-2"][0], LaterStep)  # type: ignore[index]


def test_another_robot_of_the_step_is_asked_once_its_first_is_not_waited_for() -> None:
    robots = [off(1, asked=True, role="canary"), replace(off(2, role="canary"), online=True)]
    assert plan(TARGET, robots, BEGAN + timedelta(days=6), CANARIES).assign == ()
    assert plan(TARGET, robots, BEGAN + WEEK, CANARIES).assign == ("off-2",)


def test_the_rollout_goes_on_when_a_robot_returns_that_was_not_waited_for() -> None:
    back = replace(off(1, asked=True, role="canary"), online=True, last_seen_at=BEGAN + 2 * WEEK)
    decided = plan(TARGET, [back, replace(off(2), online=True)], BEGAN + 2 * WEEK, CANARIES)
    assert status(decided) is RolloutStatus.ROLLING
    assert decided.standings[back.id].status is not RobotStatus.PENDING


MEMBERS = st.lists(
    st.tuples(st.sampled_from([Fate.FREE, Fate.BARRED, Fate.UNDER_WAY, Fate.HEALTHY]), st.booleans(), st.booleans()),
    max_size=12,
)


@given(MEMBERS, st.integers(1, 100), st.integers(1, 100))
def test_raising_a_percentage_only_adds_robots(fates: list[tuple[Fate, bool, bool]], one: int, other: int) -> None:
    members = [Member(RobotId(f"kiwi-{n}"), fate, on, well) for n, (fate, on, well) in enumerate(fates)]
    low, high = sorted((one, other))
    fewer, more = (
        turn(Course(steps=(RolloutStep(percent=float(share), soak_s=60),)), members, "rol_1", BEGAN)
        for share in (low, high)
    )
    if fewer.stopped is None:
        assert more.ask[: len(fewer.ask)] == fewer.ask
