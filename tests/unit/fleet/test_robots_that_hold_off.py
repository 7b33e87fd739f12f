"""A robot that says "not now", or does not meet a release's conditions, in a rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.rollout import Plan, Seen, Target, plan
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Phase, Report, Running
from lekiwi_deploy.wire.reasons import Busy, Fetching, LowDisk, Offline, Overdue, Reason

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
KIWI = RobotId("kiwi")
DIGEST = ManifestDigest("a" * 64)
LIMIT = timedelta(hours=4)
TARGET = Target(DeploymentId("dep_new00000"), DIGEST, NOW, "deploy", epoch=1, defer_limit=LIMIT)
TELEOP = Busy("anna", "teleop", NOW, None, "h3")
DISK = LowDisk(100, 40)


def waiting(*reasons: Reason, phase: Phase = Phase.WAITING, running: Running | None = None, **more: object) -> Seen:
    """A robot that this rollout asked, and that reports these reasons."""
    report = Report(number=1, epoch=1, generation=5, phase=phase, waiting=reasons, running=running)
    known = Seen(id=KIWI, status=RobotStatus.ASSIGNED, generation=5, assigned=5, assigned_at=NOW, report=report)
    return replace(known, **more)  # type: ignore[arg-type]


def decide(robot: Seen, after: timedelta = timedelta()) -> Plan:
    robot = replace(robot, last_seen_at=NOW + after)
    return plan(TARGET, [robot], NOW + after)


def test_it_is_pending_with_its_own_reasons_in_its_own_order_and_holds_nothing_up() -> None:
    decided = decide(waiting(TELEOP, DISK))
    one = decided.standings[KIWI]
    assert (one.status, one.waiting, one.deferring_since) == (RobotStatus.PENDING, (TELEOP, DISK), NOW)
    assert (decided.verdict.status, decided.verdict.pending, decided.verdict.failed) == (RolloutStatus.DONE, 1, 0)
    assert decided.overdue == ()


def test_it_counts_from_when_it_first_held_off_whatever_its_reasons_are_now() -> None:
    one = decide(waiting(DISK, deferring_since=NOW), timedelta(hours=3)).standings[KIWI]
    assert one.deferring_since == NOW and one.waiting == (DISK,)


def test_after_the_limit_it_is_overdue_and_people_are_told_once() -> None:
    robot = waiting(TELEOP, deferring_since=NOW)
    decided = decide(robot, LIMIT)
    one = decided.standings[KIWI]
    assert one.waiting == (TELEOP, Overdue(NOW, LIMIT.total_seconds()))
    assert one.status is RobotStatus.PENDING
    assert decided.overdue == (KIWI,)
    assert decided.verdict.status is RolloutStatus.DONE
    again = decide(replace(robot, waiting=one.waiting, status=one.status), LIMIT + timedelta(hours=1))
    assert again.overdue == () and again.changed == ()


def test_a_newer_deployment_does_not_make_it_start_to_count_anew() -> None:
    fresh = Seen(id=KIWI, generation=4, deferring_since=NOW)
    assert decide(fresh, timedelta(hours=1)).standings[KIWI].deferring_since == NOW
    fetching = waiting(Fetching(1, 2), phase=Phase.FETCHING, deferring_since=NOW)
    assert decide(fetching, timedelta(hours=2)).standings[KIWI].deferring_since == NOW


@pytest.mark.parametrize("phase", [Phase.SWITCHING, Phase.STARTING, Phase.TRIAL])
def test_once_it_switches_it_defers_no_longer(phase: Phase) -> None:
    assert decide(waiting(phase=phase, deferring_since=NOW)).standings[KIWI].deferring_since is None


def test_once_it_runs_the_deployment_it_defers_no_longer() -> None:
    there = Running(deployment=TARGET.deployment, digest=DIGEST, healthy=True, good=True, since=NOW)
    one = decide(waiting(phase=Phase.IDLE, running=there, deferring_since=NOW)).standings[KIWI]
    assert (one.status, one.deferring_since) == (RobotStatus.GOOD, None)


def test_offline_it_is_offline_and_counts_on() -> None:
    one = plan(
        TARGET,
        [waiting(TELEOP, deferring_since=NOW, online=False, last_seen_at=NOW)],
        NOW + LIMIT + timedelta(hours=1),
    ).standings[KIWI]
    assert (one.waiting, one.deferring_since) == ((Offline(NOW),), NOW)


@given(
    st.timedeltas(timedelta(0), timedelta(days=3)), st.lists(st.sampled_from([TELEOP, DISK]), min_size=1, max_size=4)
)
def test_whatever_it_waits_for_the_rollout_is_never_stuck_and_reasons_keep_their_order(
    after: timedelta, reasons: list[Reason]
) -> None:
    decided = decide(waiting(*reasons, deferring_since=NOW), after)
    assert decided.verdict.status is RolloutStatus.DONE
    assert decided.standings[KIWI].waiting[: len(reasons)] == tuple(reasons)
    assert bool(decided.overdue) == (after >= LIMIT)
