"""What `instances.py` decides from and gives: services as wanted, processes as seen, and the actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import Handover, HookKind, Service, Warm

FLOOR = 256_000_000
"""Bytes of memory that a warm copy leaves available; a fifth of all, where that is less."""


class Strategy(StrEnum):
    """How a service is changed over."""

    PORT = "port"  # the new process beside the old one on another port, then the traffic
    LOCK = "lock"  # the new process beside the old one, then the lock of the hardware
    STOP = "stop"  # the old process wholly gone, then the new one


def strategy(service: Service) -> Strategy:
    """As the service's description asks for it."""
    if service.exclusive is not None:
        return Strategy.LOCK if service.handover is Handover.LOCK else Strategy.STOP
    return Strategy.STOP if service.port is None else Strategy.PORT


class Hooked(StrEnum):
    """A hook that has to run before something may be done."""

    NONE = "none"  # there is none, or it is not to run now
    DUE = "due"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service of what is live. `port`: the public one; `hardware`: what only one process may own. `standby`: the version that is to wait
    behind the lock while the trial lasts. `fresh`: the open trial changed it. `prepare`: its hook before the first start; `welcome`: its
    hook between being ready and being used. `insist`: it failed its checks and is left running all the same, so traffic is led to it."""

    service: str
    instance: InstanceId
    strategy: Strategy
    warm: Warm = Warm.AUTO
    drain_s: float = 30.0
    port: int | None = None
    hardware: str | None = None
    standby: InstanceId | None = None
    fresh: bool = False
    prepare: Hooked = Hooked.NONE
    welcome: Hooked = Hooked.NONE
    insist: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance. `alive`: its process is there and is not being stopped; not alive and not `stopping`: it exited, and is started again
    after a delay. `started`: CLOCK_BOOTTIME of its process. `ready`: all its checks pass. `port`: where it listens, `public`: where it is
    reached. `hardware`: what it may own; `waiting`, `owns`: what it said of the lock. `held`: not started again when it exits. `spoiled`: of
    a deployment that failed here. `unknown`: left by an earlier agent, may hold anything. `memory`: bytes; `connections`: established ones;
    `left_at`: when traffic was led away from it, None: it never served, or still does; `resumed_at`: when it was let go on."""

    instance: InstanceId
    service: str
    alive: bool = True
    stopping: bool = False
    paused: bool = False
    started: float = 0.0
    ready: bool = False
    port: int | None = None
    public: int | None = None
    hardware: str | None = None
    waiting: bool = False
    owns: bool = False
    held: bool = False
    watchdog: bool = False
    spoiled: bool = False
    unknown: bool = False
    memory: int = 0
    connections: int = 0
    left_at: float | None = None
    resumed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """The machine's memory in bytes; 0 in `total`: not known, taken as enough."""

    available: int = 0
    total: int = 0

    @property
    def floor(self) -> int:
        """What has to stay available."""
        return min(FLOOR, self.total // 5)

    def ample(self, more: int = 0) -> bool:
        """Whether enough stays available when `more` bytes are taken."""
        return self.total <= 0 or self.available - more >= self.floor


@dataclass(frozen=True, slots=True)
class World:
    """What else counts. `targets`: public port → private port, in force. `locked`: hardware whose lock somebody holds. `now`:
    CLOCK_BOOTTIME seconds. `trial`: what is live is on trial. `eager`: nothing waits for the other services of the change. `lost`: services
    whose version on trial died while the one before took its place: not started again. `cuts`: connections can be cut here."""

    targets: Mapping[int, int] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()
    room: Room = Room()
    now: float = 0.0
    trial: bool = False
    eager: bool = False
    lost: frozenset[str] = frozenset()
    cuts: bool = True


@dataclass(frozen=True, slots=True)
class StartInstance:
    """Of the service's wanted version."""

    service: str
    instance: InstanceId


@dataclass(frozen=True, slots=True)
class StartStandby:
    """The version before, to wait behind the lock of the one that runs."""

    service: str
    instance: InstanceId


@dataclass(frozen=True, slots=True)
class LeadTraffic:
    """(public port, private port) pairs that are to be in force, all at once."""

    targets: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class StopInstance:
    """Let it reach a safe state and end; it has its grace."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class HoldDown:
    """Whether it is left alone when it exits."""

    instance: InstanceId
    held: bool


@dataclass(frozen=True, slots=True)
class CutConnections:
    """Those that are left when the time to drain is over: nobody waits for an answer of a process that is paused."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class Pause:
    """No processor for it, until it is needed."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class Resume:
    """Let it go on."""

    instance: InstanceId


@dataclass(frozen=True, slots=True)
class RunHook:
    """PREPARE or AFTER_START of the service's wanted version."""

    service: str
    hook: HookKind


Action = (
    StartInstance | StartStandby | LeadTraffic | CutConnections | StopInstance | HoldDown | Pause | Resume | RunHook
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a service is changed over, and why cold though warm was asked for."""

    kind: SwitchKind
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """`actions`: to be done now, in order. `kinds`: of services that are being changed over. `serving`: the wanted instances that are in use.
    `wake_in_s`: when time alone changes the answer."""

    actions: tuple[Action, ...] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    serving: Mapping[str, InstanceId] = field(default_factory=dict)
    wake_in_s: float | None = None
