"""One robot driven by the real decisions, on a simulated machine: clock, boots, disk, services that behave as they are told. For stories
(`tests/scenarios`) and for machines of Hypothesis (`tests/unit/robot`).

What is done in one go by the agent is done here in its atomic parts, and a crash may come between any two of them: `Crash` says after
how many. The ledger in memory is written down as the agent does it; after a crash only what was written down is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from enum import Enum

import msgspec

from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.boot import boots
from lekiwi_deploy.robot.fallback import fallback
from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.instance_types import StopInstance
from lekiwi_deploy.robot.ledger import Attempt, Ledger, SlotRecord, candidates, named, tick, tried, with_slot
from lekiwi_deploy.robot.retention import retention
from lekiwi_deploy.robot.settling import settling
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import (
    Activate,
    ChangeInstances,
    ComeBack,
    CountStart,
    FallThrough,
    Fetch,
    GiveUp,
    Hold,
    KeepForBoot,
    LayOut,
    MarkGood,
    MarkHealthy,
    MarkRelapsed,
    Next,
    Observed,
    PointCurrent,
    Prune,
    RollBack,
    Step,
    StopFetch,
    TearDown,
    next_steps,
)
from lekiwi_deploy.robot.trial import CheckSeen, ServiceSeen, baseline, judge
from lekiwi_deploy.robot.wanted import accept, pinned, resumed, target
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, InstanceId, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef, Desired, Pin, TrialPolicy
from lekiwi_deploy.wire.reasons import Retrying

START = datetime(2026, 1, 1, tzinfo=UTC)
IDS = tuple(DeploymentId(f"dep_{letter * 8}") for letter in "ABCDEFGH")
CHECK = "http :80/"
_BACKOFF_S = 1.0


class Way(Enum):
    """How a deployment's only service behaves."""

    FINE = "fine"
    EXITS = "exits"  # each process, at once
    FAILS = "fails"  # lives, and its check fails
    SLOW = "slow"  # its check passes after 3 s
    KILLS_AT_START = "kills_at_start"  # the machine reboots half a second after its start, before it is healthy (a watchdog, a panic)
    KILLS_LATER = "kills_later"  # the machine reboots 4 s after it started: it was healthy by then


@dataclass
class Crash:
    """After so many more atomic parts the agent is killed."""

    parts: int


@dataclass
class SingleRobot:
    """`written`: the ledger on disk; `ledger`: in memory. `uptime`: CLOCK_BOOTTIME seconds; `elapsed`: of the story. `synced`: what
    `current` names for sure after a power cut; `kept`: what the machine starts at boot; `process`: what the service's process was
    started from. `story`: one line per thing that happened, for whoever reads a failure."""

    ways: dict[DeploymentId, Way] = field(default_factory=dict)
    keep: int = 100
    ledger: Ledger = field(default_factory=Ledger)
    written: Ledger = field(default_factory=Ledger)
    boot: int = 1
    uptime: float = 5.0
    elapsed: float = 0.0
    present: set[DeploymentId] = field(default_factory=set)
    laid_out: set[DeploymentId] = field(default_factory=set)
    current: DeploymentId | None = None
    synced: DeploymentId | None = None
    kept: DeploymentId | None = None
    process: DeploymentId | None = None
    started: float = 0.0
    exits: int = 0
    fetching: DeploymentId | None = None
    unobtainable: set[DeploymentId] = field(default_factory=set)
    blocked: dict[DeploymentId, Retrying] = field(default_factory=dict)
    generation: int = 0
    sent: Desired | None = None
    reported: tuple[int, int] = (0, 0)
    freed: set[DeploymentId] = field(default_factory=set)
    starts: dict[DeploymentId, set[int]] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)

    # --- what people and the server do

    def wants(
        self, deployment: DeploymentId, *, force: bool = False, by_hand: bool = False, policy: TrialPolicy | None = None
    ) -> None:
        """The server says so, with a new generation."""
        self.generation += 1
        self.sent = Desired(
            epoch=1, generation=self.generation, environment=EnvironmentName("production"), deployment=ref(deployment),
            policy=policy or TrialPolicy(trial_s=10.0), by_hand=by_hand, force=force,
        )  # fmt: skip
        self.tell(f"the server wants {short(deployment)}{' by force' if force else ''}")
        self.connects()

    def connects(self) -> None:
        """The link is up: the server says again what it wants."""
        if self.sent is not None:
            self.takes(self.sent)

    def takes(self, desired: Desired) -> bool:
        """A desired state arrives; whether it was taken. It is not written down before something is done about it, or it is reported."""
        answer = accept(self.ledger, desired, self.now)
        assert answer.taken == ((desired.epoch, desired.generation) >= (self.ledger.epoch, self.ledger.generation))
        if answer.new and desired.force and desired.deployment is not None:
            self.freed.add(desired.deployment.id)
        self.ledger = answer.ledger
        self.blocked.clear()
        return answer.taken

    def reports(self) -> None:
        """The server is told which generation was seen."""
        self.remember(self.ledger)
        self.reported = (self.ledger.epoch, self.ledger.generation)

    def pins(self, deployment: DeploymentId) -> None:
        """A person on the robot goes there."""
        self.tell(f"anna pins it to {short(deployment)}")
        self.remember(pinned(self.ledger, Pin(deployment=deployment, by="anna", at=self.now)))

    def resumes(self) -> None:
        """A person ends the pin."""
        self.remember(resumed(self.ledger))

    # --- what the machine does

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def passes(self, seconds: float) -> None:
        """Time goes by, and the service does what its way is."""
        self.elapsed += seconds
        self.uptime += seconds
        kills = {Way.KILLS_AT_START: 0.5, Way.KILLS_LATER: 4.0}
        if self.process is not None and self.uptime - self.started >= kills.get(self.way(), 1e9):
            self.tell(f"{short(self.process)} takes the machine down")
            self.reboots()

    def reboots(self, *, keeps_unsynced: bool = True) -> None:
        """Power cut: memory, processes and what was not written down are gone; of what was not synced yet, some may be."""
        if not keeps_unsynced:
            self.current = self.synced
        self.synced = self.current
        self.boot += 1
        self.elapsed += 20.0
        self.uptime = 5.0
        self.process, self.exits, self.started = self.kept if self.kept in self.laid_out else None, 0, self.uptime
        self.tell(f"boot {self.boot}{f', which starts {short(self.process)}' if self.process else ''}")
        self.agent_dies()

    def agent_dies(self) -> None:
        """And comes up again: it knows what is on the disk. Services go on without it."""
        self.ledger = self.written
        self.fetching = None
        self.blocked.clear()
        for deployment in sorted(self.present):  # as agent/start.py does it
            known = self.ledger.slots.get(deployment)
            if known is None or known.state is SlotState.ABSENT:
                ledger = tick(self.ledger)
                found = SlotRecord(ref=ref(deployment), state=SlotState.STAGED, staged=ledger.clock)
                self.ledger = with_slot(ledger, found)

    def loses(self, deployment: DeploymentId, *, tree_only: bool = False) -> None:
        """The disk damages its files, and the agent has found out."""
        self.laid_out.discard(deployment)
        if not tree_only:
            self.present.discard(deployment)

    def way(self) -> Way:
        assert self.process is not None
        return self.ways.get(self.process, Way.FINE)

    # --- what the agent does

    def works(self, *, until: float = 600.0) -> Next:
        """Everything that there is to do, at most so many seconds; what it waits for in the end."""
        end = self.elapsed + until
        quiet = 0
        while self.elapsed < end and quiet < 3:
            next_ = self.turn()
            settled = not next_.steps and self.ledger.trial is None and self.fetching is None
            quiet = quiet + 1 if settled and self.healthy() else 0
            if not next_.steps:
                if self.fetching is not None:
                    self.download_ends()
                else:
                    self.passes(1.0)
        return next_steps(target(self.ledger), self.observed())

    def healthy(self) -> bool:
        """Whether nothing will change by itself."""
        return self.process is None or self.way() in (Way.FINE, Way.FAILS, Way.SLOW)

    def copy(self) -> SingleRobot:
        """Another one in the same state."""
        own = {
            each.name: value.copy() if isinstance(value, (dict, set, list)) else value
            for each in fields(self)
            for value in (getattr(self, each.name),)
        }
        return SingleRobot(**own)

    def turn(self, crash: Crash | None = None) -> Next:
        """One look, and what follows from it."""
        next_ = next_steps(target(self.ledger), self.observed())
        for step in next_.steps:
            for _ in self.parts(step):
                if crash is not None:
                    crash.parts -= 1
                    if crash.parts <= 0:
                        self.agent_dies()
                        return next_
        return next_

    def download_ends(self) -> None:
        """It works, unless the files cannot be had."""
        deployment, self.fetching = self.fetching, None
        assert deployment is not None
        if deployment in self.unobtainable:
            self.blocked[deployment] = Retrying(why="not there", at=self.now)
            return
        self.present.add(deployment)
        self.laid_out.add(deployment)
        if deployment in self.ledger.slots:
            self.remember(record.staged(self.ledger, deployment, wire_bytes=10, ready_ms=1.0))

    def remember(self, ledger: Ledger) -> None:
        self.ledger = self.written = ledger

    def observed(self) -> Observed:
        ledger = self.ledger
        known, all_ = candidates(ledger, frozenset(self.present)), candidates(ledger, frozenset(ledger.slots))
        ways = {"live": ledger.live, "came_from": ledger.came_from, "tried": tried(ledger)}
        back = fallback(known, **ways)  # type: ignore[arg-type]
        in_use = frozenset(id_ for id_ in (self.process, self.current) if id_ is not None)
        kept = retention(
            {id_: slot.staged for id_, slot in ledger.slots.items() if slot.staged},
            frozenset(self.laid_out), keep=self.keep, live=ledger.live, fallback=back, needed=named(ledger) | in_use,
        )  # fmt: skip
        judgement = None
        if ledger.trial is not None:
            judgement = judge(ledger.trial, self.services(), boot=str(self.boot), now=self.uptime)
        starts = boots(ledger, back)
        return Observed(
            slots={id_: slot.state for id_, slot in ledger.slots.items()},
            present=frozenset(self.present),
            laid_out=frozenset(self.laid_out),
            live=ledger.live,
            current=self.current,
            fallback=back,
            lost=fallback(all_, **ways),  # type: ignore[arg-type]
            stale=("web",) if self.process != ledger.live else (),
            changes=(StopInstance(InstanceId("web")),) if self.process != ledger.live else (),
            boots=starts,
            kept_for_boot=self.kept == starts,
            judgement=judgement,
            boot_counted=ledger.trial is None or ledger.trial.boot == str(self.boot),
            fetching=self.fetching,
            blocked=dict(self.blocked),
            why={id_: slot.why for id_, slot in ledger.slots.items() if slot.why is not None},
            prune=kept.prune,
            tear_down=kept.tear_down,
            settling=settling(ledger.changes, target(ledger)),
        )

    def services(self) -> Mapping[str, ServiceSeen]:
        """The only one, if it runs as what is live says."""
        if self.process is None or self.process != self.ledger.live:
            return {}
        lived = self.uptime - self.started
        if self.way() is Way.EXITS:
            self.exits = 1 + int(lived / _BACKOFF_S)
            return {"web": ServiceSeen("print", alive=False, exits=self.exits, exit="exited with code 1")}
        late = (self.way() is Way.SLOW and lived < 3.0) or self.way() is Way.KILLS_AT_START
        verdict = Verdict.WAITING if late else Verdict.FAILING if self.way() is Way.FAILS else Verdict.PASSING
        error = "http :80/ answered 500" if verdict is Verdict.FAILING else None
        return {"web": ServiceSeen("print", alive=True, checks={CHECK: CheckSeen(verdict, error)})}

    def parts(self, step: Step) -> Iterator[None]:
        """Does the step; yields after each part that is on disk, or that others can see."""
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
                yield
                self.laid_out.add(deployment)
            case Activate(deployment):
                assert deployment in self.laid_out
                self.make_live(ledger, deployment)
                self.tell(f"{short(deployment)} is live, on trial")
            case CountStart():
                self.remember(record.started_again(ledger, str(self.boot)))
            case PointCurrent(deployment):
                assert deployment in self.laid_out, "current would name nothing complete"
                self.current = deployment
                yield
                self.synced = deployment
            case KeepForBoot(starts):
                assert starts is None or starts in self.laid_out, "the machine would start what is not all there"
                assert starts is None or self.state(starts) is SlotState.GOOD
                yield
                self.kept = starts
            case ChangeInstances():
                yield from self.restart()
            case MarkHealthy():
                self.remember(record.became_healthy(ledger, since=self.uptime, now=self.now, switch_ms=1.0, gap_ms=1.0))
            case MarkRelapsed():
                self.remember(record.relapsed(ledger))
            case MarkGood(deployment):
                self.remember(record.proven(ledger, self.now))
                self.tell(f"{short(deployment)} is good")
            case RollBack(failed, to, why, _):
                assert ledger.trial is not None
                self.freed.discard(failed)
                attempt = Attempt(deployment=failed, generation=ledger.trial.generation, why=why)
                self.make_live(record.condemned(ledger, why), to, attempt)
                self.tell(f"{short(failed)} failed ({why}), back to {short(to)}")
            case FallThrough(failed, to, why, _):
                assert failed == ledger.live
                fallen, attempt = record.fell_through(ledger, why)
                self.make_live(fallen, to, attempt)
                self.tell(f"{short(failed)} does not come up either ({why}), on to {short(to)}")
            case ComeBack(failed, to):
                assert ledger.live is None
                attempt = Attempt(deployment=failed, generation=ledger.generation, why=ledger.slots[failed].why or "")
                self.make_live(ledger, to, attempt)
                self.tell(f"nothing ran since {short(failed)} failed; now {short(to)} can")
            case GiveUp(failed, why, _):
                self.freed.discard(failed)
                self.remember(record.gave_up(ledger, why, self.now, ()))
                self.tell(f"{short(failed)} failed ({why}), nothing to go back to")
            case Hold(deployment, why, _):
                self.remember(record.held(ledger, why, self.now, ()))
                self.tell(f"{short(deployment)} failed and stays: {why}")
            case TearDown(deployment):
                assert deployment not in (ledger.live, self.process)
                self.laid_out.discard(deployment)
            case Prune(deployment):
                assert deployment not in (ledger.live, self.process, self.current)
                self.laid_out.discard(deployment)
                self.present.discard(deployment)
                yield
                self.remember(record.pruned(ledger, deployment))
        yield

    def make_live(self, ledger: Ledger, deployment: DeploymentId, attempt: Attempt | None = None) -> None:
        trial = ledger.trial
        failed = trial.baseline if trial is not None and attempt is not None else baseline(trial, self.services())
        self.remember(
            record.activated(
                ledger, deployment, boot=str(self.boot), now=self.now, restarted=("web",), judged=("web",), baseline=failed,
                instead_of=attempt, at=self.uptime,
            )
        )  # fmt: skip

    def restart(self) -> Iterator[None]:
        self.process, self.exits = None, 0
        yield
        live = self.ledger.live
        if live is None:
            return
        assert live in self.laid_out, "it would start what is not all there"
        assert self.ledger.slots[live].state is not SlotState.QUARANTINED, "it starts what failed here"
        self.process, self.started = live, self.uptime
        self.starts.setdefault(live, set()).add(self.boot)

    # --- for whoever looks

    def state(self, deployment: DeploymentId) -> SlotState:
        """The verdict on it."""
        slot = self.ledger.slots.get(deployment)
        return SlotState.ABSENT if slot is None else slot.state

    def tell(self, text: str) -> None:
        self.story.append(f"{self.elapsed:7.1f} s  {text}")

    def told(self) -> str:
        """The story so far."""
        return "\n".join(self.story)


def ref(deployment: DeploymentId) -> DeploymentRef:
    """As the server names it; later letters are newer."""
    index = IDS.index(deployment)
    return DeploymentRef(
        id=deployment,
        digest=ManifestDigest(f"{index:064x}"),
        manifest_size=1,
        version=f"v{index}",
        created_at=START + timedelta(minutes=index),
    )


def short(deployment: DeploymentId) -> str:
    """Its letter."""
    return deployment[-1]


def reread(ledger: Ledger) -> Ledger:
    """As it comes back from the disk."""
    return msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger)
