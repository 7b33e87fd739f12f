"""A robot: its machine, and an agent that decides with the product's own decisions (`robot/`) and does in no time what those say.

It looks whenever something happened to it, and when time alone may change something. What was not written down is lost with the agent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from lekiwi_deploy.robot.ledger import Ledger, SlotRecord, tick, with_slot
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import Next, next_steps
from lekiwi_deploy.robot.trial import Waiting
from lekiwi_deploy.robot.wanted import accept, target
from lekiwi_deploy.testing.simulation.agenda import Agenda, Appointment
from lekiwi_deploy.testing.simulation.carrying_out import carry_out, fetched
from lekiwi_deploy.testing.simulation.holding import Holding
from lekiwi_deploy.testing.simulation.looking import look, phase_of, report_of
from lekiwi_deploy.testing.simulation.machine import Machine
from lekiwi_deploy.testing.simulation.releases import Behaviour, Release
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.link import Desired, Report
from lekiwi_deploy.wire.reasons import Reason

KEEPS = 5
"""How many deployments stay on its disk."""
_MOST_TURNS = 60


@dataclass(eq=False, slots=True)
class Fetching:
    """A download that is under way."""

    deployment: DeploymentId
    ends: Appointment


@dataclass(eq=False)
class Robot:
    """`releases`: what there is to fetch. `told`: called with each new report of what matters; `gone`: when its agent, or
    (True) the machine, went away; `up`: when the agent is back; `noted`: with one line for whoever reads the
    story. `keeps`: how many deployments stay on its disk. `written`: the ledger on disk. `online`: whether the server can be reached. `last`: what it
    told last. `ever_wanted`: by anybody; `forced`: what a person wanted although it failed here."""

    name: RobotId
    labels: dict[str, str]
    agenda: Agenda
    seed: str
    releases: Mapping[DeploymentId, Release]
    told: Callable[[Report], None] = lambda report: None
    noted: Callable[[str], None] = lambda text: None
    keeps: int = KEEPS
    gone: Callable[[bool], None] = lambda power: None
    up: Callable[[], None] = lambda: None
    bytes_per_s: float = 1_000_000.0
    skew_s: float = 0.0
    zone: str | None = None
    ledger: Ledger = field(default_factory=Ledger)
    written: Ledger = field(default_factory=Ledger)
    present: set[DeploymentId] = field(default_factory=set)
    laid_out: set[DeploymentId] = field(default_factory=set)
    current: DeploymentId | None = None
    kept: DeploymentId | None = None
    fetching: Fetching | None = None
    blocked: dict[DeploymentId, Reason] = field(default_factory=dict)
    failures: int = 0
    online: Callable[[], bool] = lambda: True
    alive: bool = True
    waiting: tuple[Reason, ...] = ()
    ever_wanted: set[DeploymentId] = field(default_factory=set)
    forced: set[DeploymentId] = field(default_factory=set)
    number: int = 0
    last: Report | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed} robot {self.name}")
        self.machine = Machine(self.name, self.agenda, self.behaviour, self.power_cut, skew_s=self.skew_s)
        self.holding = Holding(self)
        self._behaviours: dict[DeploymentId, Behaviour] = {}
        self._wake: Appointment | None = None

    def behaviour(self, deployment: DeploymentId) -> Behaviour:
        """How a deployment does here."""
        found = self._behaviours.get(deployment)
        if found is None:
            found = self.releases[deployment].on(self.name, self.labels, self.seed)
            self._behaviours[deployment] = found
        return found

    # --- what the server and people do

    def takes(self, desired: Desired) -> None:
        """A desired state arrives."""
        answer = accept(self.ledger, desired, self.machine.wall)
        before = (self.ledger.epoch, self.ledger.generation)
        self.ledger = answer.ledger
        assert (self.ledger.epoch, self.ledger.generation) >= before, f"{self.name}: a generation went back"
        if not answer.taken:
            return
        if answer.new:
            self.blocked.clear()
            self.failures = 0
            if desired.deployment is not None:
                self.ever_wanted.add(desired.deployment.id)
                if desired.force:
                    self.forced.add(desired.deployment.id)
                self.noted(f"is asked for {desired.deployment.version}{' by force' if desired.force else ''}")
        self.look()

    # --- what its machine does

    def power_cut(self, for_s: float | None = None) -> None:
        """Everything that was not written down is gone, and the machine boots after `for_s` seconds (None: as fast as it can)."""
        if not self.machine.on:
            return
        self.noted("loses power" if for_s is not None else "goes down")
        self._die(power=True)
        self.machine.power_off()
        self.agenda.after(for_s if for_s is not None else self.random.uniform(15.0, 40.0), self._boot)

    def _boot(self) -> None:
        self.machine.power_on(self.kept if self.kept in self.laid_out else None)
        self.holding.rebooted()
        self.agenda.after(self.random.uniform(0.5, 3.0), self._come_up)

    def load(self, loaded: bool) -> None:
        """It begins, or ends, to work hard."""
        self.machine.loaded = loaded
        self.look()

    def agent_killed(self) -> None:
        """The agent is killed and started again; the service goes on without it."""
        if self.alive:
            self._die(power=False)
            self.agenda.after(self.random.uniform(0.5, 5.0), self._come_up)

    def _die(self, *, power: bool) -> None:
        self.alive = False
        self.ledger = self.written
        self.waiting, self.last = (), None
        self.blocked.clear()
        self.drop_fetch()
        if self._wake is not None:
            self._wake.cancel()
        self.gone(power)

    def _come_up(self) -> None:
        if self.alive or not self.machine.on:
            return
        self.alive = True
        for deployment in sorted(self.present):  # as agent/start.py does it
            known = self.ledger.slots.get(deployment)
            if known is None or known.state is SlotState.ABSENT:
                ledger = tick(self.ledger)
                ref = self.releases[deployment].ref
                self.ledger = with_slot(ledger, SlotRecord(ref=ref, state=SlotState.STAGED, staged=ledger.clock))
        self.look()
        self.up()

    # --- what its agent does

    def remember(self, ledger: Ledger) -> None:
        """Writes it down."""
        self.ledger = self.written = ledger

    def look(self) -> None:
        """Looks and does everything that there is to do now."""
        if not self.alive:
            return
        next_ = Next()
        for _ in range(_MOST_TURNS):
            seen = look(self)
            next_ = self.holding.asked(seen, next_steps(target(self.ledger), seen))
            for step in next_.steps:
                carry_out(self, step)
            if not next_.steps or not self.alive:
                break
        else:
            raise AssertionError(f"{self.name} goes round in circles: {next_.steps}")
        if self.alive:
            self.waiting = next_.waiting
            self._look_again(seen.judgement)
            self.tell()

    def fetch(self, deployment: DeploymentId) -> None:
        """Begins to download it."""
        assert self.fetching is None, "two downloads at once"
        seconds = self.releases[deployment].size / self.bytes_per_s * self.random.uniform(0.8, 2.0)
        began = self.agenda.elapsed
        ends = self.agenda.after(seconds, lambda: fetched(self, deployment, began))
        self.fetching = Fetching(deployment, ends)

    def drop_fetch(self) -> None:
        """Gives a download up."""
        if self.fetching is not None:
            self.fetching.ends.cancel()
            self.fetching = None

    def tell(self) -> None:
        """Tells the server, if there is something new to tell."""
        if report_of(self, 0) != self.last:
            self.told(self.report())

    def report(self) -> Report:
        """What it tells now. It is written down first: what the server knows must not be lost here."""
        self.number = max(self.number + 1, int(self.machine.uptime * 1000))
        self.remember(self.ledger)
        self.last = report_of(self, 0)
        return msgspec.structs.replace(self.last, number=self.number)

    def _look_again(self, judgement: object) -> None:
        if self._wake is not None:
            self._wake.cancel()
        times = [self.machine.changes_in(), self.holding.look_again_in()]
        if isinstance(judgement, Waiting):
            times.append(judgement.good_in_s)
        within = min((one for one in times if one is not None), default=None)
        self._wake = self.agenda.after(within + 0.001, self.look) if within is not None else None

    @property
    def settled(self) -> bool:
        """Whether it does nothing about what is wanted of it."""
        return self.alive and phase_of(self).value in ("idle", "waiting") and self.fetching is None
