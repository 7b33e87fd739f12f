"""A robot driven by the real decisions through any sequence of wishes, failures, power cuts and disk faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.fallback import fallback
from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.ledger import Attempt, Ledger, candidates, named, tried
from lekiwi_deploy.robot.retention import retention
from lekiwi_deploy.robot.settling import settling
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import (
    Activate,
    CountStart,
    FallThrough,
    Fetch,
    GiveUp,
    Hold,
    LayOut,
    MarkGood,
    MarkHealthy,
    MarkRelapsed,
    Next,
    Observed,
    PointCurrent,
    Prune,
    RestartServices,
    RollBack,
    Step,
    StopFetch,
    TearDown,
    next_steps,
)
from lekiwi_deploy.robot.trial import CheckSeen, ServiceSeen, judge
from lekiwi_deploy.robot.wanted import accept, pinned, resumed, target
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef, Desired, Pin, TrialPolicy

START = datetime(2026, 1, 1, tzinfo=UTC)
MAX = 3
IDS = [DeploymentId(f"dep_{letter * 8}") for letter in "ABCDEF"]


class Robot(RuleBasedStateMachine):
    """`ledger` is what is on disk; services and the clock are a model. One service, `web`, per deployment."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.generation = 0
        self.seconds = 0.0
        self.boot = 1
        self.present: set[DeploymentId] = set()
        self.laid_out: set[DeploymentId] = set()
        self.current: DeploymentId | None = None
        self.process: DeploymentId | None = None
        self.exits = 0
        self.fetching: DeploymentId | None = None
        self.bad: set[DeploymentId] = set()
        self.started_after_quarantine: list[DeploymentId] = []
        self.condemned: set[DeploymentId] = set()
        self.starts_by_boot: dict[DeploymentId, set[int]] = {}

    # --- the world

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def refs(self, deployment: DeploymentId) -> DeploymentRef:
        index = IDS.index(deployment)
        return DeploymentRef(
            id=deployment,
            digest=ManifestDigest(f"{index:064x}"),
            manifest_size=1,
            version=f"v{index}",
            created_at=START + timedelta(minutes=index),
        )

    def observed(self) -> Observed:
        ledger = self.ledger
        known = candidates(ledger, frozenset(self.present))
        back = fallback(known, live=ledger.live, came_from=ledger.came_from, tried=tried(ledger))
        in_use = {self.process} - {None} | {self.current} - {None}
        kept = retention(
            {id_: slot.staged for id_, slot in ledger.slots.items() if slot.staged},
            frozenset(self.laid_out),
            keep=MAX,
            live=ledger.live,
            fallback=back,
            needed=named(ledger) | frozenset(id_ for id_ in in_use if id_ is not None),
        )
        stale = ("web",) if self.process != ledger.live else ()
        services = {}
        if not stale and self.process is not None:
            broken = self.process in self.bad
            verdict = Verdict.FAILING if broken else Verdict.PASSING
            services["web"] = ServiceSeen("print", alive=True, exits=0, checks={"http :80/": CheckSeen(verdict, "500")})
        judgement = None
        if ledger.trial is not None:
            judgement = judge(ledger.trial, services, boot=str(self.boot), now=self.seconds)
        return Observed(
            slots={id_: slot.state for id_, slot in ledger.slots.items()},
            present=frozenset(self.present),
            laid_out=frozenset(self.laid_out),
            live=ledger.live,
            current=self.current,
            fallback=back,
            lost=fallback(
                candidates(ledger, frozenset(ledger.slots)),
                live=ledger.live,
                came_from=ledger.came_from,
                tried=tried(ledger),
            ),
            stale=stale,
            judgement=judgement,
            boot_counted=ledger.trial is None or ledger.trial.boot == str(self.boot),
            fetching=self.fetching,
            prune=kept.prune,
            tear_down=kept.tear_down,
            settling=settling(ledger.changes, target(ledger)),
        )

    def next(self) -> Next:
        return next_steps(target(self.ledger), self.observed())

    def make_live(self, ledger: Ledger, deployment: DeploymentId, attempt: Attempt | None = None) -> None:
        self.ledger = record.activated(
            ledger,
            deployment,
            boot=str(self.boot),
            now=self.now,
            restarted=("web",),
            judged=("web",),
            instead_of=attempt,
            at=self.seconds,
        )

    def do(self, step: Step) -> None:
        ledger = self.ledger
        match step:
            case Fetch(deployment):
                assert self.fetching is None, "two downloads at once"
                self.fetching = deployment
            case StopFetch():
                assert self.fetching is not None
                self.fetching = None
            case LayOut(deployment):
                assert deployment in self.present
                self.laid_out.add(deployment)
            case Activate(deployment):
                assert deployment in self.laid_out
                self.make_live(ledger, deployment)
            case CountStart():
                self.ledger = record.started_again(ledger, str(self.boot))
            case PointCurrent(deployment):
                assert deployment in self.laid_out
                self.current = deployment
            case RestartServices():
                self.process = ledger.live
                if self.process is not None:
                    assert self.process in self.laid_out
                    assert ledger.slots[self.process].state is not SlotState.QUARANTINED
                    self.starts_by_boot.setdefault(self.process, set()).add(self.boot)
            case MarkHealthy():
                self.ledger = record.became_healthy(ledger, since=self.seconds, now=self.now, switch_ms=1.0, gap_ms=1.0)
            case MarkRelapsed():
                self.ledger = record.relapsed(ledger)
            case MarkGood():
                self.ledger = record.proven(ledger, self.now)
            case RollBack(failed, to, why, _):
                assert ledger.trial is not None
                self.condemned.add(failed)
                attempt = Attempt(deployment=failed, generation=ledger.trial.generation, why=why)
                self.make_live(record.condemned(ledger, why), to, attempt)
            case FallThrough(failed, to, why, _):
                assert failed == ledger.live
                fallen, attempt = record.fell_through(ledger, why)
                self.make_live(fallen, to, attempt)
            case GiveUp(failed, why, _):
                self.condemned.add(failed)
                self.ledger = record.gave_up(ledger, why, self.now, ())
            case Hold(_, why, _):
                self.ledger = record.held(ledger, why, self.now, ())
            case TearDown(deployment):
                assert deployment not in (ledger.live, self.process)
                self.laid_out.discard(deployment)
            case Prune(deployment):
                assert deployment not in (ledger.live, self.process, self.current)
                self.laid_out.discard(deployment)
                self.present.discard(deployment)
                self.ledger = record.pruned(ledger, deployment)

    # --- what happens to it

    @initialize(bad=st.sets(st.sampled_from(IDS)))
    def some_are_bad(self, bad: set[DeploymentId]) -> None:
        self.bad = bad

    @rule(count=st.integers(1, 6))
    def agent_works(self, count: int) -> None:
        for _ in range(count):
            steps = self.next().steps
            for step in steps:
                self.do(step)

    @rule()
    def agent_dies_after_one_step(self) -> None:
        for step in self.next().steps[:1]:
            self.do(step)
        self.fetching = None

    @rule(
        deployment=st.sampled_from(IDS),
        older=st.integers(0, 2),
        force=st.booleans(),
        by_hand=st.booleans(),
        roll_back=st.sampled_from([True, True, False]),
    )
    def server_wants(self, deployment: DeploymentId, older: int, force: bool, by_hand: bool, roll_back: bool) -> None:
        generation = max(0, self.generation + 1 - older)
        before = (self.ledger.epoch, self.ledger.generation)
        desired = Desired(
            epoch=1,
            generation=generation,
            environment=EnvironmentName("production"),
            deployment=self.refs(deployment),
            policy=TrialPolicy(trial_s=5.0, roll_back=roll_back),
            by_hand=by_hand,
            force=force,
        )
        answer = accept(self.ledger, desired, self.now)
        assert answer.taken == ((1, generation) >= before)
        if answer.new and force:
            self.condemned.discard(deployment)
        self.ledger = answer.ledger
        self.generation = max(self.generation, generation)

    @precondition(
        lambda self: any(
            slot.state is not SlotState.QUARANTINED and id_ in self.present for id_, slot in self.ledger.slots.items()
        )
    )
    @rule(data=st.data())
    def person_pins(self, data: st.DataObject) -> None:
        here = sorted(
            id_
            for id_, slot in self.ledger.slots.items()
            if slot.state is not SlotState.QUARANTINED and id_ in self.present
        )
        chosen = data.draw(st.sampled_from(here))
        self.ledger = pinned(self.ledger, Pin(deployment=chosen, by="anna", at=self.now))

    @rule(deployment=st.sampled_from(IDS), checks=st.sampled_from(["minimal", "normal", "strict"]))
    def a_deployment_arrives(self, deployment: DeploymentId, checks: str) -> None:
        """The usual case in one go, so that examples get far."""
        self.generation += 1
        desired = Desired(
            epoch=1,
            generation=self.generation,
            environment=EnvironmentName("production"),
            deployment=self.refs(deployment),
            policy=TrialPolicy(trial_s=5.0, checks=checks),
        )
        self.ledger = resumed(accept(self.ledger, desired, self.now).ledger)
        for _ in range(8):
            if self.fetching is not None:
                self.download_ends(works=True)
            for step in self.next().steps:
                self.do(step)

    @rule(deployment=st.sampled_from(IDS))
    def it_turns_bad(self, deployment: DeploymentId) -> None:
        self.bad = self.bad ^ {deployment}

    @rule()
    def person_resumes(self) -> None:
        self.ledger = resumed(self.ledger)

    @precondition(lambda self: self.fetching is not None)
    @rule(works=st.booleans())
    def download_ends(self, works: bool) -> None:
        deployment, self.fetching = self.fetching, None
        assert deployment is not None
        if works and deployment in self.ledger.slots:
            self.present.add(deployment)
            self.laid_out.add(deployment)
            self.ledger = record.staged(self.ledger, deployment, wire_bytes=10, ready_ms=1.0)

    @rule(seconds=st.floats(0.1, 10.0))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds

    @rule()
    def machine_boots(self) -> None:
        self.boot += 1
        self.process = None
        self.fetching = None

    @rule()
    def service_dies(self) -> None:
        self.process = None

    @rule(deployment=st.sampled_from(IDS), tree_only=st.booleans())
    def disk_loses(self, deployment: DeploymentId, tree_only: bool) -> None:
        self.laid_out.discard(deployment)
        if not tree_only:
            self.present.discard(deployment)

    # --- what always holds

    @invariant()
    def nothing_condemned_runs_by_itself(self) -> None:
        if self.process is not None and self.process in self.condemned:
            # It may still run until its services are restarted; it must not be what is live.
            assert self.ledger.live != self.process
        if self.ledger.live is not None:
            assert self.ledger.slots[self.ledger.live].state is not SlotState.QUARANTINED

    @invariant()
    def the_ledger_survives_the_disk(self) -> None:
        data = msgspec.json.encode(self.ledger)
        assert msgspec.json.decode(data, type=Ledger) == self.ledger

    @invariant()
    def a_trial_is_of_what_is_live(self) -> None:
        if self.ledger.trial is not None:
            assert self.ledger.trial.deployment == self.ledger.live
            assert self.ledger.trial.starts <= 3

    @invariant()
    def it_settles_when_left_alone(self) -> None:
        """Once disturbances end, the robot runs what is wanted, or, if that is quarantined, what it can."""
        saved = {
            name: (set(value) if isinstance(value, set) else value)
            for name, value in vars(self).items()
            if name in {"ledger", "seconds", "present", "laid_out", "current", "process", "fetching", "condemned"}
        }
        starts = {id_: set(boots) for id_, boots in self.starts_by_boot.items()}
        for _ in range(400):
            next_ = self.next()
            for step in next_.steps:
                self.do(step)
            if self.fetching is not None:
                self.download_ends(works=True)
            elif not next_.steps:
                if self.ledger.trial is None:
                    break
                self.seconds += 1.0
        else:
            raise AssertionError(f"does not settle: {self.next()}")
        wanted = target(self.ledger)
        live = self.ledger.live
        if settling(self.ledger.changes, wanted) is not None:
            assert live is not None, "it changed to and fro, and runs nothing"
        elif wanted is not None and self.ledger.slots[wanted].state is not SlotState.QUARANTINED:
            assert live == wanted == self.process == self.current
        if live is not None:
            assert self.process == live == self.current
            assert live in self.laid_out
        retained = [id_ for id_, slot in self.ledger.slots.items() if slot.staged]
        assert len(retained) <= MAX + len(named(self.ledger)) + 2
        assert len(self.laid_out) <= 2 + len(named(self.ledger)) + 1
        for name, value in saved.items():
            setattr(self, name, value)
        self.starts_by_boot = starts


Robot.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestRobot = Robot.TestCase
