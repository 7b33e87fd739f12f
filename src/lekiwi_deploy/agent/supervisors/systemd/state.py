"""One instance as the supervisor knows it, and what news from systemd mean for it. No I/O."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime

from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen, ProcessState
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts, told
from lekiwi_deploy.agent.supervisors.systemd.record import Counted, UnitRecord


@dataclass
class Instance:
    """`unit`: the one that it runs in, empty: none yet; `asked`: it was ordered to start and systemd has not taken the order on, so what that
    says may be of the time before; `orders`: how many there were; `process`: the newest main process that was seen, by when it began
    (CLOCK_MONOTONIC microseconds), and `restarts` what systemd had counted then; `stopped_by_signal`: how it was paused."""

    record: UnitRecord
    seen: ProcessSeen
    unit: str = ""
    facts: Facts = field(default_factory=Facts)
    asked: bool = False
    orders: int = 0
    stopping: bool = False
    held: bool = False
    stopped_by_signal: bool = False
    streak: int = 0
    process: int = 0
    restarts: int = 0
    retry: asyncio.TimerHandle | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> bool:
        """Some process of it may be there."""
        return not (self.facts.over or self.seen.state is ProcessState.BACKING_OFF)

    def counted(self) -> Counted:
        """What a new agent is to know."""
        return Counted(
            exits=self.seen.exits, restarts=self.restarts, started=self.process, paused=self.stopped_by_signal
        )

    def cancel_retry(self) -> None:
        """It is not started again at the time that was set."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None


def came_up(instance: Instance, monotonic: float, boottime: float, since: datetime) -> int:
    """Its facts show a running process: take it over. How often it was started again without us. `monotonic`, `boottime`: those
    clocks now, in seconds; `since`: when its process began."""
    facts, seen = instance.facts, instance.seen
    extra = 0
    if facts.pid and (facts.started != instance.process or facts.pid != seen.pid):
        if instance.process and facts.started != instance.process:
            extra = max(1, facts.restarts - instance.restarts)
        instance.process, instance.restarts = facts.started, facts.restarts
        seen = replace(
            seen,
            pid=facts.pid,
            started=boottime - monotonic + facts.started / 1e6,
            since=since,
            exits=seen.exits + extra,
        )
    instance.seen = replace(
        seen,
        state=ProcessState.STOPPING if instance.stopping else ProcessState.RUNNING,
        told=told(seen.told if not extra else type(seen.told)(), facts, notify=instance.record.notify, now=monotonic),
        paused=instance.stopped_by_signal or facts.freezer in ("frozen", "freezing"),
    )
    return extra
