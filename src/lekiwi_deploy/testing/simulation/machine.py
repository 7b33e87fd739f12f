"""The machine of a robot: power, boots, clocks, load, and the one process of its service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.robot.health import Verdict
from lekiwi_deploy.robot.trial import CheckSeen, ServiceSeen
from lekiwi_deploy.testing.simulation.agenda import Agenda, Appointment
from lekiwi_deploy.testing.simulation.releases import Behaviour
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import ServiceReport, ServiceState

CHECK = "http :80/"
SERVICE = "app"
RESTART_S = 1.0
_BOOT_TAKES_S = 5.0


@dataclass(eq=False)
class Machine:
    """`skew_s`: its clock is so much ahead of the true time; `behaviour` says how a deployment does here; `went_down` is called when a process
    took the machine down. `loaded`: it is under load."""

    name: str
    agenda: Agenda
    behaviour: Callable[[DeploymentId], Behaviour]
    went_down: Callable[[], None]
    skew_s: float = 0.0
    boots: int = 1
    booted: float = 0.0
    on: bool = True
    loaded: bool = False
    process: DeploymentId | None = None
    started: float = 0.0
    _kill: Appointment | None = None

    @property
    def boot(self) -> str:
        """The kernel's boot id: never the same twice."""
        return f"{self.name}-boot-{self.boots}"

    @property
    def uptime(self) -> float:
        """CLOCK_BOOTTIME in seconds."""
        return self.agenda.elapsed - self.booted + _BOOT_TAKES_S

    @property
    def wall(self) -> datetime:
        """What its clock shows."""
        return self.agenda.now + timedelta(seconds=self.skew_s)

    def power_off(self) -> None:
        """Memory and processes are gone."""
        self.on = False
        self.stop()

    def power_on(self, starts: DeploymentId | None) -> None:
        """It boots, and starts by itself what it was told to keep for that."""
        self.on, self.booted, self.loaded = True, self.agenda.elapsed, False
        self.boots += 1
        if starts is not None:
            self.start(starts)

    def start(self, deployment: DeploymentId) -> None:
        """Another process in place of the one that runs."""
        self.stop()
        self.process, self.started = deployment, self.agenda.elapsed
        kills_s = self.behaviour(deployment).kills_s
        if kills_s is not None:
            self._kill = self.agenda.after(kills_s, self.went_down)

    def stop(self) -> None:
        """No process runs."""
        self.process = None
        if self._kill is not None:
            self._kill.cancel()
            self._kill = None

    def service(self) -> ServiceSeen:
        """The service, whose process runs or is to be started again."""
        assert self.process is not None
        how, lived = self.behaviour(self.process), self.agenda.elapsed - self.started
        if how.exits_s is not None and lived >= how.exits_s:
            exits = 1 + int((lived - how.exits_s) / (how.exits_s + RESTART_S))
            return ServiceSeen("print", alive=False, exits=exits, exit="exited with code 1")
        failing = (how.fails_s is not None and lived >= how.fails_s) or (how.under_load and self.loaded)
        verdict = Verdict.FAILING if failing else Verdict.PASSING
        if lived < how.ready_s:
            verdict = Verdict.WAITING
        error = f"{CHECK} answered 500" if verdict is Verdict.FAILING else None
        return ServiceSeen("print", alive=True, checks={CHECK: CheckSeen(verdict, error)})

    def services(self, live: DeploymentId | None) -> Mapping[str, ServiceSeen]:
        """What the agent sees: nothing while another version's process runs."""
        return {SERVICE: self.service()} if self.process is not None and self.process == live else {}

    def reported(self) -> tuple[ServiceReport, ...]:
        """As the robot tells of it."""
        if self.process is None:
            return ()
        seen = self.service()
        if not seen.alive:
            state = ServiceState.BACKING_OFF
        elif seen.ready:
            state = ServiceState.READY
        else:
            failing = seen.checks[CHECK].verdict is Verdict.FAILING
            state = ServiceState.UNHEALTHY if failing else ServiceState.STARTING
        return (ServiceReport(name=SERVICE, state=state, deployment=self.process),)

    def changes_in(self) -> float | None:
        """Seconds until the service behaves otherwise by itself; None: it does not."""
        if self.process is None:
            return None
        how, lived = self.behaviour(self.process), self.agenda.elapsed - self.started
        moments = [how.ready_s]
        if how.fails_s is not None:
            moments.append(how.fails_s)
        if how.exits_s is not None:
            cycle = how.exits_s + RESTART_S
            moments += [how.exits_s + turn * cycle for turn in range(4)]
        later = [moment - lived for moment in moments if moment > lived]
        return min(later, default=None)
