"""What the agent knows of an instance beside what its supervisor tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from lekiwi_deploy.agent.locks import LockSeen, session_of
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState
from lekiwi_deploy.agent.watch import Watch
from lekiwi_deploy.robot.instance_types import Seen, Strategy, strategy
from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import Handover, Service


@dataclass
class Known:
    """`service`: as its own deployment describes it, None: that is not known any more. `public`: its public port. `left_at`, `resumed_at`,
    `led_at`: when traffic was led away from it, when it was let go on, when traffic was led to it (CLOCK_BOOTTIME). `connections`: on its
    port when traffic has left it. `stopping`: it is to end, perhaps after a hook. `paused`: what it is to be, until its supervisor says
    so. `woke_at`: when it was let go on last, also long after. `exits`: how often it had exited before it was made live. `held`: it is not to
    be started again. `owned_at`: since when it has its hardware."""

    service: Service | None
    public: int | None
    launch: Launch | None = None
    watch: Watch | None = None
    watched: object = None
    strangers: frozenset[int] = frozenset()
    left_at: float | None = None
    resumed_at: float | None = None
    woke_at: float | None = None
    led_at: float | None = None
    connections: int = 0
    quiet: int = 0
    stopping: bool = False
    paused: bool | None = None
    held: bool = False
    exits: int = 0
    owned_at: float | None = None
    was_waiting: bool = False

    def begin_anew(self) -> None:
        """It has another process."""
        self.owned_at, self.woke_at, self.was_waiting = None, None, False

    @property
    def hardware(self) -> str | None:
        """What it may own."""
        return self.service.exclusive if self.service is not None else None

    @property
    def locks(self) -> bool:
        """Whether it takes the lock of its hardware before it uses it."""
        return self.service is not None and self.service.handover is Handover.LOCK and self.hardware is not None

    @property
    def by_port(self) -> bool:
        """Whether it listens on a private port."""
        return self.service is not None and self.public is not None and strategy(self.service) is not Strategy.STOP

    def passes(self, process: ProcessSeen) -> bool:
        """Whether all its checks pass now, and it has said that it is ready if it is to say so."""
        if self.watch is None or (self.service is not None and self.service.notify and not process.told.ready):
            return False
        return self.watch.passes()

    def is_paused(self, process: ProcessSeen) -> bool:
        """As asked for, while its supervisor is at it."""
        return process.paused if self.paused is None else self.paused

    def view(self, process: ProcessSeen, *, lock: LockSeen | None, alone: bool, spoiled: bool, memory: int) -> Seen:
        """For `robot/instances.py`."""
        alive = process.state is ProcessState.RUNNING and not self.stopping
        waiting, owns = self.at_the_lock(process, lock, alone=alone)
        return Seen(
            process.instance,
            process.service,
            alive=alive,
            stopping=self.stopping or process.state is ProcessState.STOPPING,
            paused=self.is_paused(process),
            started=process.started,
            ready=alive and self.passes(process),
            port=process.port,
            public=self.public,
            hardware=self.hardware,
            waiting=alive and waiting,
            owns=alive and owns,
            held=self.held,
            watchdog=self.service is not None and self.service.watchdog_s is not None,
            spoiled=spoiled,
            unknown=self.service is None,
            memory=memory,
            connections=self.connections,
            left_at=self.left_at,
            resumed_at=self.resumed_at,
        )

    def at_the_lock(
        self, process: ProcessSeen, lock: LockSeen | None = None, *, alone: bool = False
    ) -> tuple[bool, bool]:
        """Whether it waits for its hardware, and whether it owns it: by its own word, else by the kernel's. `alone`: no other version could
        have the lock."""
        told = process.told
        if not self.locks or process.state is not ProcessState.RUNNING:
            return False, False
        if told.owns_since is not None and told.released_at is None:
            return False, True
        if lock is not None:
            if any(session_of(pid) == process.pid for pid in lock.waiters):
                self.was_waiting = True
                return True, False
            if any(session_of(pid) == process.pid for pid in lock.holders):
                return False, True
            inherited = lock.held and all(session_of(pid) is None for pid in lock.holders)  # its taker is gone
            if inherited and (self.was_waiting or alone):
                return False, True
        return told.waiting_for is not None, False


@dataclass
class Change:
    """A switch under way, in CLOCK_BOOTTIME seconds: when it was decided, how each service is changed over and why not better, and when
    the old version of each was last in use."""

    decided: float
    kinds: dict[str, tuple[SwitchKind, str | None]] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
