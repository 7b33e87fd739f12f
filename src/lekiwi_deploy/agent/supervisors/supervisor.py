"""What the agent asks of whatever runs its services: plain processes here, systemd units elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lekiwi_deploy.wire.ids import DeploymentId


class ProcessState(StrEnum):
    """Of one service, without its health."""

    RUNNING = "running"
    BACKING_OFF = "backing_off"  # exited; will be started again
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a service. `folder`: its working directory; `log`: file that its output is appended to; `family`: a
    variable assignment in `environment` that marks every process it starts; `grace_s`: between SIGTERM and SIGKILL."""

    name: str
    run: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    deployment: DeploymentId
    fingerprint: str
    log: Path
    family: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A service that runs or is to be started again. `started`: CLOCK_BOOTTIME seconds of its newest process; `exits` since it was
    first started with this fingerprint; `exit`: how its last process ended."""

    name: str
    state: ProcessState
    deployment: DeploymentId
    fingerprint: str
    pid: int | None
    started: float
    since: datetime
    exits: int = 0
    exit: str | None = None


class Supervisor(Protocol):
    """Runs services. It tells of every change of `seen` by calling what it was made with."""

    def seen(self) -> Mapping[str, ProcessSeen]:
        """Every service that is not stopped, by name."""
        ...

    def start(self, launch: Launch) -> None:
        """Start a service that is stopped. That it cannot be started shows as an exit."""
        ...

    async def stop(self, name: str, grace_s: float | None = None) -> None:
        """Stop a service and everything that it started; returns when all of it is gone. Stopped already: nothing. `grace_s`: if not
        as long as it was started with."""
        ...
