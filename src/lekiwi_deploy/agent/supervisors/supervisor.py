"""What the agent asks of whatever runs its services: plain processes (`process.py`) or systemd units (`systemd/`).

A service may have several processes at once (the one that serves, one that is warm, one that drains): each is an *instance*, named
`<service>-<first 8 of its fingerprint>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lekiwi_deploy.agent.log_lines import Hide, as_it_is
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.ids import InstanceId as InstanceId
from lekiwi_deploy.wire.manifest import Needs
from lekiwi_deploy.wire.variables import SealedVariables

_NOTHING_MORE = Needs()


def instance_id(service: str, fingerprint: str) -> InstanceId:
    """The one of this service with this fingerprint."""
    return InstanceId(f"{service}-{fingerprint[:8]}")


def service_of(instance: InstanceId) -> str:
    """The service that it is a version of."""
    return instance.rpartition("-")[0]


class ProcessState(StrEnum):
    """Of one instance, without its health."""

    RUNNING = "running"
    BACKING_OFF = "backing_off"  # exited; will be started again
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What of a service's variables the server gave it: `given` (None: its file is damaged), with what stands for the values of the names
    that it declares (`marks`). `trouble`: why they cannot be opened; it is not started without them then."""

    given: SealedVariables | None
    marks: Mapping[str, str]
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an instance. `folder`: its working directory; `slot`: the deployment's folder, read-only for it; `state`: its writable
    folder; `log`: file that its output is appended to (where there is no journald); `family`: a variable assignment in `environment` that
    marks every process it starts; `grace_s`: between SIGTERM and SIGKILL; `port`: the port it listens on ($PORT); `lock`: the lock file
    of its exclusive hardware; `notify`: it says READY=1; `watchdog_s`: and WATCHDOG=1 as often; `sealed`: those of `environment` that may
    not reach the disk; `hide`: what may be shown of what its commands write."""

    instance: InstanceId
    service: str
    run: tuple[str, ...]
    folder: Path
    slot: Path
    state: Path
    environment: Mapping[str, str] = field(repr=False)
    deployment: DeploymentId
    fingerprint: str
    log: Path
    family: str
    grace_s: float
    port: int | None = None
    lock: Path | None = None
    notify: bool = False
    watchdog_s: float | None = None
    needs: Needs = field(default=_NOTHING_MORE)
    sealed: Sealed | None = field(default=None, repr=False)
    hide: Hide = field(default=as_it_is, repr=False, compare=False)

    @property
    def trouble(self) -> str | None:
        """Why it is not to be started, nor any command of it."""
        return self.sealed.trouble if self.sealed is not None else None


@dataclass(frozen=True, slots=True)
class Told:
    """What the program said of itself by sd_notify. `ready`: READY=1. The last lines of STATUS= of the robot contract, with the
    CLOCK_MONOTONIC seconds that they carry (or of their arrival): `waiting_for` hardware, loaded; `owns_since`; `released_at`."""

    ready: bool = False
    status: str | None = None
    waiting_for: str | None = None
    owns_since: float | None = None
    released_at: float | None = None


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """An instance that runs or is to be started again. `started`: CLOCK_BOOTTIME seconds of its newest process; `exits` since it was
    first started; `exit`: how its last process ended, `ended` when (CLOCK_BOOTTIME). `paused`: it is there but gets no processor."""

    instance: InstanceId
    service: str
    state: ProcessState
    deployment: DeploymentId
    fingerprint: str
    pid: int | None
    started: float
    since: datetime
    exits: int = 0
    exit: str | None = None
    ended: float | None = None
    port: int | None = None
    paused: bool = False
    told: Told = Told()


class Supervisor(Protocol):
    """Runs instances, and starts one again with a growing delay when it exits, unless `hold_down` was said of it. It tells of every
    change of `seen` by calling what it was made with, with the instance's id."""

    def seen(self) -> Mapping[InstanceId, ProcessSeen]:
        """Every instance that is not stopped."""
        ...

    async def adopt(self) -> None:
        """Find what an earlier agent, or the boot, started. Whoever is found and not known by its record is ended."""
        ...

    def start(self, launch: Launch) -> None:
        """Start an instance that is stopped. That it cannot be started shows as an exit."""
        ...

    async def stop(self, instance: InstanceId, grace_s: float | None = None) -> None:
        """Stop an instance and everything that it started; returns when all of it is gone. Stopped already: nothing. `grace_s`: if not
        as long as it was started with."""
        ...

    def hold_down(self, instance: InstanceId, held: bool = True) -> None:
        """When it exits, it is not started again (somebody else has taken its hardware); it is gone from `seen` when it exited.
        `held` false: it is started again as any other."""
        ...

    def pause(self, instance: InstanceId) -> None:
        """Give all its processes no processor until `resume`. An instance with a watchdog is never paused by the caller."""
        ...

    def resume(self, instance: InstanceId) -> None:
        """Let it go on."""
        ...

    async def run(
        self, launch: Launch, command: tuple[str, ...], timeout_s: float
    ) -> tuple[str | None, tuple[str, ...]]:
        """Run a command to its end as the instance would be: folder, variables, user, sandbox. What was wrong in one line (None: it
        exited with 0), and its last output lines. Used for hooks and command checks."""
        ...

    async def keep_for_boot(self, launches: tuple[Launch, ...]) -> None:
        """Make exactly these what the machine starts at boot, without the agent; durable on return. Plain processes: nothing."""
        ...

    async def stop_all(self) -> None:
        """Stop every instance, all at once."""
        ...

    def close(self) -> None:
        """Let go of the instances without touching them."""
        ...
