"""What the process supervisor knows of one instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from lekiwi_deploy.agent.supervisors.notify import NotifySocket
from lekiwi_deploy.agent.supervisors.records import ProcessRecord, start_ticks
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen


@dataclass
class Running:
    """`pidfd` is below 0 when no process is there. `why`: said at its end instead of how it ended. `streak`: exits in a row, for the delay
    before it is started again."""

    seen: ProcessSeen
    family: str
    grace_s: float
    notify: bool = False
    watchdog_s: float | None = None
    pidfd: int = -1
    adopted: bool = False
    streak: int = 0
    held: bool = False
    stopping: bool = False
    why: str | None = None
    launch: Launch | None = None
    socket: NotifySocket | None = None
    retry: asyncio.TimerHandle | None = None
    dog: asyncio.TimerHandle | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, boot: str) -> ProcessRecord:
        """For a new agent to find it by."""
        seen = self.seen
        assert seen.pid is not None
        return ProcessRecord(
            service=seen.service,
            pid=seen.pid,
            ticks=start_ticks(seen.pid) or 0,
            boot=boot,
            started=seen.started,
            since=seen.since,
            deployment=seen.deployment,
            fingerprint=seen.fingerprint,
            family=self.family,
            grace_s=self.grace_s,
            exits=seen.exits,
            port=seen.port,
            notify=self.notify,
            watchdog_s=self.watchdog_s,
            held=self.held,
            told=seen.told,
        )

    def feed(self, bark: Callable[[Running], None]) -> None:
        """It gave a sign of life: `bark` when it gives no other within its watchdog's time."""
        if self.dog is not None:
            self.dog.cancel()
            self.dog = None
        if self.watchdog_s is not None and self.pidfd >= 0 and not self.seen.paused:
            self.dog = asyncio.get_running_loop().call_later(self.watchdog_s, bark, self)

    def release(self) -> None:
        """Let go of timers and of the socket."""
        for timer in (self.retry, self.dog):
            if timer is not None:
                timer.cancel()
        self.retry = self.dog = None
        if self.socket is not None:
            self.socket.close()
            self.socket = None
