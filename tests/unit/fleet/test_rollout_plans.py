"""Rollout plans, case by case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lekiwi_deploy.fleet.rollout import GRACE, PATIENCE, Seen, Standing, Target, plan
from lekiwi_deploy.fleet.status import shown_status
from lekiwi_deploy.wire.api import DeploymentStatus, RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Pin, Report, Result, Running, ServiceReport, ServiceState
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.reasons import (
    Asked,
    ClonedKey,
    DiskFull,
    Fetching,
    Halted,
    NeverJoined,
    NotBuiltFor,
    Offline,
    Pinned,
    Quarantined,
    Retrying,
    Silent,
    Starting,
)

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=7)
NEW, OLD = DeploymentId("dep_new00000"), DeploymentId("dep_old00000")
DIGEST, OTHER = ManifestDigest("a" * 64), ManifestDigest("b" * 64)
TARGET = Target(NEW, DIGEST, NOW - timedelta(minutes=1), "deploy", epoch=1)
PI = Platform("linux", "aarch64", "glibc", "2.36", "3.11")


def running(digest: ManifestDigest = DIGEST, *, healthy: bool = True, good: bool = False) -> Running:
    return Running(deployment=NEW if digest == DIGEST else OLD, digest=digest, healthy=healthy, good=good, since=NOW)


AGAIN = Running(deployment=OLD, digest=DIGEST, healthy=True, good=True, since=NOW)


def report(generation: int = 5, phase: Phase = Phase.IDLE, **more: object) -> Report:
    return Report(number=1, epoch=1, generation=generation, phase=phase, **more)  # type: ignore[arg-type]


def outcome(result: Result, generation: int = 5, deployment: DeploymentId = NEW) -> Outcome:
    return Outcome(deployment=deployment, digest=DIGEST, generation=generation, result=result, at=NOW)


def asked(**more: object) -> Seen:
    """A robot that this rollout gave generation 5."""
    told = Seen(id=RobotId("kiwi"), status=RobotStatus.ASSIGNED, generation=5, assigned=5, assigned_at=NOW)
    return replace(told, **more)  # type: ignore[arg-type]


def fresh(**more: object) -> Seen:
    """A robot that was not asked yet."""
    return replace(Seen(id=RobotId("kiwi"), generation=4), **more)  # type: ignore[arg-type]


def standing(robot: Seen, target: Target = TARGET) -> Standing:
    return plan(target, [robot], NOW).standings[robot.id]


def test_everybody_who_may_is_asked_at_once_unhealthy_ones_first() -> None:
    robots = [
        fresh(id=RobotId("a"), report=report(4, running=running(OTHER))),
        fresh(id=RobotId("b"), report=report(4, running=running(OTHER, healthy=False))),
        fresh(id=RobotId("c")),
    ]
    decided = plan(TARGET, robots, NOW)
    assert decided.assign == ("b", "c", "a")
    assert decided.verdict.status is RolloutStatus.ROLLING
    assert all(one.waiting == (Asked(NOW),) for one in decided.standings.values())


def test_a_robot_that_is_off_is_asked_too_but_holds_nothing_up() -> None:
    decided = plan(TARGET, [fresh(online=False, last_seen_at=LONG_AGO)], NOW)
    assert decided.assign == ("kiwi",)
    assert decided.standings[RobotId("kiwi")] == Standing(RobotStatus.PENDING, (Offline(LONG_AGO),))
    assert (decided.verdict.status, decided.verdict.pending) == (RolloutStatus.DONE, 1)


@pytest.mark.parametrize(
    ("robot", "status", "reason"),
    [
        (fresh(cloned_at=NOW), RobotStatus.PENDING, ClonedKey(NOW)),
        (fresh(joined=False, online=False), RobotStatus.PENDING, NeverJoined()),
        (fresh(pin=Pinned(OLD, "anna", NOW)), RobotStatus.HELD, Pinned(OLD, "anna", NOW)),
        (
            fresh(report=report(4, quarantined=(NEW,))),
            RobotStatus.HELD,
            Quarantined(NEW, "it failed its checks on this robot"),
        ),
    ],
)
def test_who_may_not_move_says_why(robot: Seen, status: RobotStatus, reason: object) -> None:
    decided = plan(TARGET, [robot], NOW)
    assert decided.assign == ()
    assert (decided.standings[robot.id].status, decided.waiting[robot.id]) == (status, (reason,))


def test_a_robot_of_a_platform_that_it_was_not_built_for_is_held() -> None:
    target = replace(TARGET, platforms=("linux-x86_64-glibc2.36-py3.11",))
    assert standing(fresh(platform=PI), target).waiting == (NotBuiltFor(PI.key),)
    assert standing(fresh(platform=PI), replace(TARGET, platforms=(PI.key,))).status is RobotStatus.ASSIGNED


def test_a_pin_gives_way_to_a_deployment_made_after_it_and_to_nothing_else() -> None:
    pinned = fresh(pin=Pinned(OLD, "anna", TARGET.created_at - timedelta(seconds=1)))
    assert plan(TARGET, [pinned], NOW).assign == ("kiwi",)
    assert plan(replace(TARGET, kind="rollback"), [pinned], NOW).assign == ()
    assert plan(replace(TARGET, kind="robot"), [pinned], NOW).assign == ("kiwi",)


def test_force_asks_a_robot_that_quarantined_it() -> None:
    robot = fresh(report=report(4, quarantined=(NEW,)))
    assert plan(replace(TARGET, force=True), [robot], NOW).assign == ("kiwi",)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (report(running=running()), RobotStatus.HEALTHY),
        (report(running=running(good=True)), RobotStatus.GOOD),
        (report(6, running=running()), RobotStatus.HEALTHY),
        (report(4, running=running()), RobotStatus.ASSIGNED),  # it says so under an older generation
        (report(running=running(OTHER)), RobotStatus.ASSIGNED),  # healthy, but another digest
        (report(running=AGAIN), RobotStatus.ASSIGNED),  # the same content, deployed again with other variables
        (report(running=running(healthy=False), phase=Phase.STARTING), RobotStatus.SWITCHING),
        (report(phase=Phase.FETCHING, running=running(OTHER)), RobotStatus.FETCHING),
        (report(phase=Phase.STAGED), RobotStatus.SWITCHING),
        (report(running=running(OTHER), outcome=outcome(Result.ROLLED_BACK)), RobotStatus.ROLLED_BACK),
        (report(outcome=outcome(Result.FAILED)), RobotStatus.FAILED),
        (report(running=running(OTHER), outcome=outcome(Result.ROLLED_BACK, 4)), RobotStatus.ASSIGNED),
        (report(running=running(), outcome=outcome(Result.ROLLED_BACK, deployment=OLD)), RobotStatus.HEALTHY),
        (report(running=running(OTHER), quarantined=(NEW,)), RobotStatus.HELD),
        (report(running=running(OTHER), pin=Pin(deployment=OLD, by="anna", at=NOW)), RobotStatus.HELD),
        (report(running=running(), pin=Pin(deployment=NEW, by="anna", at=NOW)), RobotStatus.HEALTHY),
    ],
)
def test_what_a_report_says_decides_where_the_robot_stands(seen: Report, status: RobotStatus) -> None:
    assert standing(asked(report=seen)).status is status


def test_a_report_from_another_epoch_confirms_nothing() -> None:
    seen = Report(number=1, epoch=2, generation=9, phase=Phase.IDLE, running=running())
    assert standing(asked(report=seen)).status is RobotStatus.ASSIGNED


def test_whoever_is_waited_for_says_what_for() -> None:
    web = ServiceReport(name="web", state=ServiceState.STARTING, deployment=NEW)
    assert standing(asked(report=report(phase=Phase.STARTING, services=(web,)))).waiting == (Starting(("web",)),)
    assert standing(asked(report=report(phase=Phase.FETCHING))).waiting == (Fetching(0, None),)
    own = (Fetching(10, 20),)
    assert standing(asked(report=report(phase=Phase.FETCHING, waiting=own))).waiting == own
    assert standing(asked()).waiting == (Asked(NOW),)


def test_a_robot_that_somebody_must_help_first_holds_nothing_up() -> None:
    full, failing = DiskFull(needed=10, free=1), Retrying("download failed", NOW)
    at_once = standing(asked(report=report(phase=Phase.WAITING, waiting=(full,))))
    assert (at_once.status, at_once.waiting, at_once.reachable) == (RobotStatus.PENDING, (full,), False)
    soon = asked(report=report(phase=Phase.WAITING, waiting=(failing,)), assigned_at=NOW - PATIENCE)
    assert standing(soon).reachable
    late = standing(replace(soon, assigned_at=NOW - PATIENCE - timedelta(seconds=1)))
    assert (late.status, late.waiting, late.reachable) == (RobotStatus.PENDING, (failing,), False)


def test_a_robot_that_lost_its_link_is_waited_for_a_little() -> None:
    gone = asked(online=False, last_seen_at=NOW - GRACE / 2)
    assert standing(gone).reachable
    assert standing(gone).waiting == (Offline(gone.last_seen_at),)
    gone = asked(online=False, last_seen_at=NOW - GRACE * 2)
    assert standing(gone) == Standing(RobotStatus.PENDING, (Offline(gone.last_seen_at),))


def test_after_the_server_was_away_robots_have_time_to_return() -> None:
    gone = asked(online=False, last_seen_at=NOW - timedelta(minutes=4))
    back = replace(TARGET, listening_since=NOW - timedelta(seconds=3))
    assert standing(gone, back).reachable
    assert not standing(gone, replace(TARGET, listening_since=NOW - GRACE * 2)).reachable
    assert not standing(asked(online=False, last_seen_at=LONG_AGO), back).reachable


def test_what_was_confirmed_stays_so_while_the_robot_is_off_or_restarts_a_service() -> None:
    confirmed = asked(status=RobotStatus.HEALTHY, online=False, last_seen_at=LONG_AGO)
    assert standing(confirmed).status is RobotStatus.HEALTHY
    ill = asked(status=RobotStatus.HEALTHY, report=report(running=running(healthy=False)))
    assert standing(ill).status is RobotStatus.HEALTHY


def test_a_trial_that_fails_after_it_was_healthy_counts_as_rolled_back() -> None:
    seen = report(running=running(OTHER), outcome=outcome(Result.ROLLED_BACK))
    decided = plan(TARGET, [asked(status=RobotStatus.HEALTHY, report=seen)], NOW)
    assert decided.verdict.status is RolloutStatus.ROLLED_BACK


def test_who_was_moved_on_by_a_person_is_held_and_by_another_rollout_superseded() -> None:
    pin = Pinned(OLD, "anna", NOW)
    for status in (RobotStatus.ASSIGNED, RobotStatus.HEALTHY, RobotStatus.GOOD):
        assert standing(asked(status=status, generation=6, pin=pin)) == Standing(RobotStatus.HELD, (pin,))
    moved = plan(TARGET, [asked(generation=6)], NOW)
    assert moved.standings[RobotId("kiwi")].status is RobotStatus.SUPERSEDED
    assert moved.verdict.status is RolloutStatus.SUPERSEDED


def test_nobody_else_is_asked_once_it_failed_and_was_good_nowhere() -> None:
    failed = asked(id=RobotId("a"), report=report(outcome=outcome(Result.ROLLED_BACK), running=running(OTHER)))
    decided = plan(TARGET, [failed, fresh(id=RobotId("b"))], NOW)
    assert decided.assign == ()
    assert decided.waiting[RobotId("b")] == (Halted(1, "it failed on 1 of 1 robots"),)
    assert decided.verdict.status is RolloutStatus.ROLLED_BACK


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ("hhh", RolloutStatus.DONE),
        ("", RolloutStatus.DONE),
        ("hhr", RolloutStatus.PARTIAL),
        ("hf", RolloutStatus.PARTIAL),
        ("rr", RolloutStatus.ROLLED_BACK),
        ("rf", RolloutStatus.FAILED),
        ("hra", RolloutStatus.ROLLING),
        ("gg", RolloutStatus.DONE),
        ("ss", RolloutStatus.SUPERSEDED),
        ("sh", RolloutStatus.DONE),
    ],
)
def test_the_verdict_follows_from_where_robots_stand(statuses: str, verdict: RolloutStatus) -> None:
    words = {
        "h": RobotStatus.HEALTHY, "g": RobotStatus.GOOD, "r": RobotStatus.ROLLED_BACK, "f": RobotStatus.FAILED,
        "a": RobotStatus.ASSIGNED, "s": RobotStatus.SUPERSEDED,
    }  # fmt: skip
    robots = [asked(id=RobotId(f"kiwi-{at}"), status=words[letter]) for at, letter in enumerate(statuses)]
    assert plan(TARGET, robots, NOW).verdict.status is verdict


@pytest.mark.parametrize(
    ("build", "rollout", "active", "shown"),
    [
        ("queued", None, False, "queued"),
        ("failed", None, False, "failed"),
        ("built", None, False, "built"),
        ("built", "rolling", True, "rolling"),
        ("built", "done", True, "live"),
        ("built", "done", False, "replaced"),
        ("built", "partial", True, "partial"),
        ("built", "rolled_back", False, "rolled_back"),
        ("built", "failed", False, "failed"),
        ("built", "superseded", False, "replaced"),
        ("built", "superseded", True, "live"),
        ("canceled", None, False, "canceled"),
    ],
)
def test_a_deployment_is_shown_by_its_build_and_then_by_its_newest_rollout(
    build: str, rollout: str | None, active: bool, shown: str
) -> None:
    status = RolloutStatus(rollout) if rollout else None
    assert shown_status(DeploymentStatus(build), status, active=active) == shown


@pytest.mark.parametrize(
    ("active", "stopped", "shown"),
    [(False, True, "rolled_back"), (False, False, "replaced"), (True, True, "partial")],
)
def test_what_stopped_half_way_and_was_taken_back_is_shown_as_rolled_back(
    active: bool, stopped: bool, shown: str
) -> None:
    found = shown_status(DeploymentStatus.BUILT, RolloutStatus.PARTIAL, active=active, stopped=stopped)
    assert found == shown


def test_a_linked_robot_that_says_nothing_for_long_holds_up_no_verdict_and_counts_again_once_it_speaks() -> None:
    asked = NOW - timedelta(minutes=11)
    mute = fresh(assigned=5, generation=5, assigned_at=asked, status=RobotStatus.ASSIGNED, last_seen_at=asked)
    decided = plan(TARGET, [mute], NOW)
    assert decided.standings[mute.id] == Standing(RobotStatus.PENDING, (Silent(asked),))
    assert decided.verdict.status is RolloutStatus.DONE
    spoke = replace(mute, last_seen_at=NOW - timedelta(minutes=4))
    assert plan(TARGET, [spoke], NOW).verdict.status is RolloutStatus.ROLLING


def test_a_robot_that_it_was_not_built_for_keeps_nobody_else_from_getting_it() -> None:
    target = replace(TARGET, platforms=(PI.key,))
    unfit = fresh(id=RobotId("a"), platform=Platform("linux", "x86_64", "musl", "1.2", "3.11"))
    assert plan(target, [unfit, fresh(id=RobotId("b"), platform=PI)], NOW).assign == ("b",)
