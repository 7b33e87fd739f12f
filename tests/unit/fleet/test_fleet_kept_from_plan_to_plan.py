"""A fleet that is told what changed plans as if it looked at everybody; and what holds of every rollout, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lekiwi_deploy.fleet.course import Course, Pause
from lekiwi_deploy.fleet.rollout import CONFIRMED, FINAL, Fleet, Plan, Seen, Target, plan
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Report, Result, Running
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.reasons import Busy, Pinned

START = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
NEW, OLD = DeploymentId("dep_new00000"), DeploymentId("dep_old00000")
DIGESTS = {NEW: ManifestDigest("a" * 64), OLD: ManifestDigest("b" * 64)}
BUSY = Busy("anna", "teleop", START, None, "h1")
STEPS = st.lists(
    st.builds(
        RolloutStep,
        robots=st.none() | st.integers(1, 4),
        percent=st.none() | st.sampled_from([10.0, 50.0, 100.0]),
        select=st.none() | st.just("hw=v2"),
        soak_s=st.sampled_from([0.0, 60.0]),
        approval=st.booleans(),
        max_unavailable=st.none() | st.integers(1, 2),
        per=st.none() | st.just("site"),
    ),
    max_size=3,
)
COURSES = st.builds(
    Course,
    steps=STEPS.map(tuple),
    in_flight=st.none() | st.integers(1, 3),
    min_success=st.none() | st.sampled_from([50.0, 95.0]),
    skip_offline=st.booleans(),
    expires_s=st.sampled_from([300.0, 86400.0]),
)


def runs(id: DeploymentId, *, healthy: bool = True, good: bool = True) -> Running:
    return Running(deployment=id, digest=DIGESTS[id], healthy=healthy, good=good, since=START)


class KeptFleet(RuleBasedStateMachine):
    """Robots, the fleet that is told of them, and what was asked so far. Each step compares the two ways of planning."""

    @initialize(course=COURSES, size=st.integers(0, 9), force=st.booleans())
    def begin(self, course: Course, size: int, force: bool) -> None:
        self.now = START
        self.course = course
        self.target = Target(
            NEW, DIGESTS[NEW], START - timedelta(minutes=1), "deploy", epoch=1, rollout="rol_1", force=force,
            listening_since=START - timedelta(seconds=5), defer_limit=timedelta(minutes=10), began=START,
            skip_offline=course.skip_offline, expires=timedelta(seconds=course.expires_s or 0.0), limited=course.limited,
        )  # fmt: skip
        self.robots: dict[RobotId, Seen] = {}
        self.kept = Fleet("rol_1")
        self.made = 0
        self.generations: dict[RobotId, int] = {}
        for _ in range(size):
            self.robot_comes(online=True, v2=self.made % 3 == 0)

    def write(self, robot: Seen) -> None:
        self.robots[robot.id] = robot
        self.kept.update([robot])

    def pick(self, number: int) -> Seen | None:
        return self.robots[sorted(self.robots)[number % len(self.robots)]] if self.robots else None

    def say(self, robot: Seen, **more: object) -> None:
        before = robot.report
        assert before is not None
        report = Report(
            number=before.number + 1,
            epoch=1,
            generation=robot.generation,
            phase=more.get("phase", Phase.IDLE),  # type: ignore[arg-type]
            running=more.get("running", before.running),  # type: ignore[arg-type]
            outcome=more.get("outcome", before.outcome),  # type: ignore[arg-type]
            quarantined=more.get("quarantined", before.quarantined),  # type: ignore[arg-type]
            waiting=more.get("waiting", ()),  # type: ignore[arg-type]
        )
        self.write(replace(robot, report=report, last_seen_at=self.now))

    @rule(online=st.booleans(), v2=st.booleans())
    def robot_comes(self, online: bool, v2: bool) -> None:
        if self.made >= 14:
            return
        self.made += 1
        report = Report(
            number=1, epoch=1, generation=3, phase=Phase.IDLE, running=runs(OLD, healthy=self.made % 4 != 0)
        )
        labels = {"hw": "v2" if v2 else "v1", "site": f"s{self.made % 3}"}
        seen = None if not online and self.made % 2 else self.now
        id = RobotId(f"kiwi-{self.made:02}")
        self.write(Seen(id, generation=3, online=online, last_seen_at=seen, report=report, labels=labels))

    @rule(number=st.integers(0, 20))
    def robot_goes(self, number: int) -> None:
        robot = self.pick(number)
        if robot is not None:
            del self.robots[robot.id]
            self.kept.update([], gone=[robot.id])

    @rule(number=st.integers(0, 20), v2=st.booleans())
    def labels_change(self, number: int, v2: bool) -> None:
        robot = self.pick(number)
        if robot is not None:
            self.write(replace(robot, labels={**robot.labels, "hw": "v2" if v2 else "v1"}))

    @rule(number=st.integers(0, 20))
    def flap(self, number: int) -> None:
        robot = self.pick(number)
        if robot is not None:
            self.write(replace(robot, online=not robot.online, last_seen_at=self.now))

    @rule(
        number=st.integers(0, 20), what=st.sampled_from(["fetch", "busy", "well", "good", "bad", "pin", "quarantine"])
    )
    def robot_acts(self, number: int, what: str) -> None:
        robot = self.pick(number)
        if robot is None or not robot.online:
            return
        asked = robot.assigned is not None and robot.assigned == robot.generation
        match what:
            case "fetch" if asked:
                self.say(robot, phase=Phase.FETCHING)
            case "busy" if asked:
                self.say(robot, phase=Phase.WAITING, waiting=(BUSY,))
            case "well" if asked:
                self.say(robot, running=runs(NEW, good=False))
            case "good" if asked:
                self.say(robot, running=runs(NEW))
            case "bad" if asked:
                outcome = Outcome(
                    deployment=NEW,
                    digest=DIGESTS[NEW],
                    generation=robot.generation,
                    result=Result.ROLLED_BACK,
                    at=self.now,
                )
                self.say(robot, outcome=outcome, quarantined=(NEW,), running=runs(OLD))
            case "pin":
                self.write(replace(robot, pin=Pinned(OLD, "anna", self.now), generation=robot.generation + 1))
            case "quarantine" if not asked:
                self.say(robot, quarantined=(NEW,))

    @rule(seconds=st.sampled_from([0, 1, 5, 20, 59, 60, 61, 300, 600, 601, 90000]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(what=st.sampled_from(["pause", "resume", "approve", "skip"]))
    def a_person_steers(self, what: str) -> None:
        from msgspec.structs import replace as changed

        match what:
            case "pause":
                self.course = changed(self.course, paused=Pause("anna", self.now))
            case "resume":
                self.course = changed(self.course, paused=None)
            case "approve":
                self.course = changed(self.course, approved=(*self.course.approved, self.course.at))
            case "skip" if self.course.at < self.course.length - 1:
                self.course = changed(self.course, at=self.course.at + 1, passed_at=None)

    @rule()
    def conduct(self) -> None:
        whole = plan(self.target, self.robots.values(), self.now, self.course)
        kept = self.kept.plan(self.target, self.now, self.course)
        for name in Plan.__dataclass_fields__:
            assert getattr(kept, name) == getattr(whole, name), name
        self.check(whole)
        again = plan(self.target, self.robots.values(), self.now, self.course)
        assert again == whole, "planning twice gives the same plan"
        self.course = whole.course
        for id in {*whole.changed, *whole.assign}:
            self.record(id, whole)

    def record(self, id: RobotId, decided: Plan) -> None:
        robot, one = self.robots[id], decided.standings[id]
        waiting = () if one is decided.standings.later else one.waiting
        confirmed = robot.confirmed or one.status in CONFIRMED
        robot = replace(
            robot,
            status=one.status,
            outcome=one.outcome,
            waiting=waiting,
            confirmed=confirmed,
            deferring_since=one.deferring_since,
        )
        if id in decided.assign:
            generation = robot.generation + 1
            assert generation > self.generations.get(id, 0), "a generation never goes backwards"
            self.generations[id] = generation
            robot = replace(robot, generation=generation, assigned=generation, assigned_at=self.now, pin=None)
        self.write(robot)

    def check(self, decided: Plan) -> None:
        for id, robot in self.robots.items():
            one = decided.standings[id]
            if one.status not in CONFIRMED | FINAL:
                assert one.waiting, "a robot that is left alone has a reason"
            if id in decided.assign:
                assert robot.assigned is None, "a robot is asked once"
                assert self.target.force or robot.report is None or NEW not in robot.report.quarantined
        if decided.course.stopped is not None or decided.course.paused is not None:
            assert not decided.assign
        online = [id for id in decided.assign if self.robots[id].online]
        before = sum(
            one.reachable or one.leased
            for id, one in decided.standings.items()
            if id not in decided.assign and one.status is not RobotStatus.HELD
        )
        if online and decided.course.in_flight is not None:
            assert before + len(online) <= max(decided.course.in_flight, before), "never more in flight than allowed"
        if self.target.limited:
            assert len(online) == len(decided.assign), "who is off is asked when it returns, and there is room"
        if not self.robots:
            return
        late = plan(self.target, self.robots.values(), self.now + timedelta(days=30), decided.course)
        person = decided.course.paused is not None or (
            late.waits is not None and late.waits.what in ("approval", "soak")
        )
        if not late.assign and not person and late.verdict.status is RolloutStatus.ROLLING:
            assert late.verdict.under_way or late.until is not None, "every rollout ends"


KeptFleet.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestKeptFleets = KeptFleet.TestCase
