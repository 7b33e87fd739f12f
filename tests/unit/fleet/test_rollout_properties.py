"""What holds of every rollout, whatever robots do."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lekiwi_deploy.fleet.rollout import CONFIRMED, FINAL, Plan, Seen, Target, plan
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Pin, Report, Result, Running
from lekiwi_deploy.wire.reasons import Pinned

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
NEW, OLD = DeploymentId("dep_new00000"), DeploymentId("dep_old00000")
DIGESTS = {NEW: ManifestDigest("a" * 64), OLD: ManifestDigest("b" * 64)}

ids = st.sampled_from([NEW, OLD])
runs = st.none() | st.builds(
    lambda id, healthy, good: Running(deployment=id, digest=DIGESTS[id], healthy=healthy, good=good, since=NOW),
    ids, st.booleans(), st.booleans(),
)  # fmt: skip
outcomes = st.none() | st.builds(
    lambda id, generation, result: Outcome(
        deployment=id, digest=DIGESTS[id], generation=generation, result=result, at=NOW
    ),
    ids, st.integers(3, 7), st.sampled_from(Result),
)  # fmt: skip
reports = st.none() | st.builds(
    Report,
    number=st.just(1),
    epoch=st.integers(0, 2),
    generation=st.integers(3, 7),
    phase=st.sampled_from(Phase),
    running=runs,
    outcome=outcomes,
    pin=st.none() | st.builds(Pin, deployment=ids, by=st.just("anna"), at=st.just(NOW)),
    quarantined=st.sampled_from([(), (NEW,), (OLD, NEW)]),
)
moments = st.none() | st.sampled_from([NOW, NOW - timedelta(seconds=5), NOW - timedelta(days=3)])
robots = st.builds(
    Seen,
    id=st.integers(0, 99).map(lambda number: RobotId(f"kiwi-{number:02}")),
    status=st.sampled_from(RobotStatus),
    joined=st.booleans(),
    online=st.booleans(),
    last_seen_at=moments,
    cloned_at=st.none() | st.just(NOW),
    pin=st.none() | st.builds(Pinned, ids, st.just("anna"), st.sampled_from([NOW, NOW - timedelta(days=9)])),
    generation=st.integers(4, 7),
    assigned=st.none() | st.integers(4, 6),
    report=reports,
    outcome=outcomes,
)
fleets = st.lists(robots, max_size=8, unique_by=lambda robot: robot.id)
targets = st.builds(
    Target,
    st.just(NEW),
    st.just(DIGESTS[NEW]),
    st.just(NOW - timedelta(minutes=1)),
    st.sampled_from(["deploy", "rollback", "robot"]),
    epoch=st.just(1),
    force=st.booleans(),
)


def check(target: Target, fleet: list[Seen], decided: Plan) -> None:
    """What holds of every plan."""
    by_id = {robot.id: robot for robot in fleet}
    for id, robot in by_id.items():
        standing = decided.standings[id]
        if standing.status not in CONFIRMED | FINAL and id not in decided.assign:
            assert standing.waiting, (robot, standing)
        if id in decided.assign:
            assert robot.assigned is None
            assert robot.joined
            assert robot.cloned_at is None
            assert target.force or robot.report is None or target.deployment not in robot.report.quarantined
        if standing.status in CONFIRMED and robot.status not in CONFIRMED:
            report = robot.report
            assert report is not None
            assert report.running is not None
            assert robot.assigned is not None
            assert report.epoch == target.epoch
            assert report.generation >= robot.assigned
            assert report.running.digest == target.digest
            assert report.running.healthy
    verdict = decided.verdict
    assert verdict.live + verdict.pending + verdict.failed + verdict.under_way == verdict.total == len(fleet)
    assert min(verdict.live, verdict.pending, verdict.failed, verdict.under_way) >= 0
    if decided.course.stopped:
        assert not decided.assign
    if verdict.status is RolloutStatus.DONE:
        assert verdict.failed == 0
    if verdict.status in (RolloutStatus.ROLLED_BACK, RolloutStatus.FAILED):
        assert verdict.live == 0


@given(targets, fleets)
def test_every_plan_keeps_its_promises(target: Target, fleet: list[Seen]) -> None:
    check(target, fleet, plan(target, fleet, NOW))


@given(targets, fleets, st.randoms(use_true_random=False))
def test_the_order_of_robots_makes_no_difference(target: Target, fleet: list[Seen], shuffle: random.Random) -> None:
    other = list(fleet)
    shuffle.shuffle(other)
    assert plan(target, fleet, NOW) == plan(target, other, NOW)


@given(targets, fleets)
def test_planning_again_after_it_was_recorded_changes_nothing_more(target: Target, fleet: list[Seen]) -> None:
    once = recorded(fleet, plan(target, fleet, NOW))
    twice = plan(target, once, NOW)
    assert not twice.assign
    final = recorded(once, twice)
    assert not plan(target, final, NOW).changed


def recorded(fleet: list[Seen], decided: Plan) -> list[Seen]:
    """The fleet as the conductor leaves it after `decided`."""
    after = []
    for robot in fleet:
        standing = decided.standings[robot.id]
        robot = replace(robot, status=standing.status, outcome=standing.outcome, waiting=standing.waiting)
        if robot.id in decided.assign:
            generation = robot.generation + 1
            robot = replace(robot, generation=generation, assigned=generation, assigned_at=NOW, pin=None)
        after.append(robot)
    return after


class RolloutMachine(RuleBasedStateMachine):
    """A rollout over robots that fetch, switch, fail, lose their links, are pinned and resumed, in any order."""

    @initialize(count=st.integers(1, 5), bad=st.sets(st.integers(0, 4)), force=st.booleans())
    def begin(self, count: int, bad: set[int], force: bool) -> None:
        self.now = NOW
        self.target = Target(NEW, DIGESTS[NEW], NOW, "deploy", epoch=1, force=force)
        self.bad = {RobotId(f"kiwi-{number}") for number in bad}
        first = Report(number=1, epoch=1, generation=0, phase=Phase.IDLE, running=self.runs(OLD))
        self.fleet = {
            RobotId(f"kiwi-{number}"): Seen(id=RobotId(f"kiwi-{number}"), report=first, last_seen_at=NOW)
            for number in range(count)
        }
        self.given: dict[RobotId, int] = {}
        self.conduct()

    def runs(self, id: DeploymentId, *, good: bool = True) -> Running:
        return Running(deployment=id, digest=DIGESTS[id], healthy=True, good=good, since=NOW)

    def pick(self, number: int) -> Seen:
        return self.fleet[sorted(self.fleet)[number % len(self.fleet)]]

    def say(self, robot: Seen, **more: object) -> None:
        assert robot.report is not None
        report = Report(
            number=robot.report.number + 1,
            epoch=1,
            generation=robot.generation,
            phase=more.get("phase", Phase.IDLE),  # type: ignore[arg-type]
            running=more.get("running", robot.report.running),  # type: ignore[arg-type]
            outcome=more.get("outcome"),  # type: ignore[arg-type]
            quarantined=more.get("quarantined", robot.report.quarantined),  # type: ignore[arg-type]
        )
        self.fleet[robot.id] = replace(robot, report=report)

    @rule()
    def conduct(self) -> None:
        fleet = list(self.fleet.values())
        decided = plan(self.target, fleet, self.now)
        check(self.target, fleet, decided)
        self.fleet = {robot.id: robot for robot in recorded(fleet, decided)}
        for id in decided.assign:
            assert id not in self.given, "a robot is asked once"
            self.given[id] = self.fleet[id].generation

    @rule(number=st.integers(0, 4), phase=st.sampled_from([Phase.FETCHING, Phase.SWITCHING, Phase.STARTING]))
    def progress(self, number: int, phase: Phase) -> None:
        robot = self.pick(number)
        if robot.online:
            self.say(robot, phase=phase)

    @rule(number=st.integers(0, 4))
    def arrive(self, number: int) -> None:
        robot = self.pick(number)
        if not robot.online or robot.assigned is None or robot.pin is not None:
            return
        if robot.id in self.bad:
            result = Outcome(
                deployment=NEW, digest=DIGESTS[NEW], generation=robot.generation, result=Result.ROLLED_BACK, at=NOW
            )
            self.say(robot, outcome=result, quarantined=(NEW,), running=self.runs(OLD))
        else:
            self.say(robot, running=self.runs(NEW, good=False))

    @rule(number=st.integers(0, 4))
    def prove(self, number: int) -> None:
        robot = self.pick(number)
        if robot.report and robot.report.running and robot.report.running.deployment == NEW:
            self.say(robot, running=self.runs(NEW))

    @rule(number=st.integers(0, 4))
    def flap(self, number: int) -> None:
        robot = self.pick(number)
        self.fleet[robot.id] = replace(robot, online=not robot.online, last_seen_at=self.now)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(number=st.integers(0, 4))
    def pin(self, number: int) -> None:
        robot = self.pick(number)
        generation = robot.generation + 1
        pin = Pinned(OLD, "anna", self.now)
        self.fleet[robot.id] = replace(robot, pin=pin, generation=generation)

    @invariant()
    def once_all_answered_there_is_a_verdict(self) -> None:
        if not hasattr(self, "fleet"):
            return
        decided = plan(self.target, list(self.fleet.values()), self.now + timedelta(days=1))
        quiet = all(
            not robot.online or robot.status in CONFIRMED | FINAL or robot.pin is not None
            for robot in self.fleet.values()
        )
        if quiet and not decided.assign:
            assert decided.verdict.under_way == 0
            assert decided.verdict.status is not RolloutStatus.ROLLING

    @invariant()
    def a_robot_that_fails_is_never_counted_as_live(self) -> None:
        for robot in getattr(self, "fleet", {}).values():
            assert not (robot.id in self.bad and robot.status in CONFIRMED)


RolloutMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRollouts = RolloutMachine.TestCase
