"""Which processes an agent started, so that the next agent finds them again.

Not flushed to disk: what a power cut loses of it, it killed as well.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.supervisors.supervisor import ProcessSeen, ProcessState, Told, instance_id
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId

_NOTHING = Told()


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`ticks`: start time in clock ticks since boot, which with `pid` and `boot` names a process for good. `port`: where it listens."""

    service: str
    pid: int
    ticks: int
    boot: str
    started: float
    since: datetime
    deployment: DeploymentId
    fingerprint: str
    family: str
    grace_s: float = 10.0
    exits: int = 0
    port: int | None = None
    notify: bool = False
    watchdog_s: float | None = None
    held: bool = False
    told: Told = _NOTHING

    @property
    def instance(self) -> InstanceId:
        """Whose process it is."""
        return instance_id(self.service, self.fingerprint)

    def seen(self) -> ProcessSeen:
        """As it was when this was written."""
        return ProcessSeen(
            instance=self.instance,
            service=self.service,
            state=ProcessState.RUNNING,
            deployment=self.deployment,
            fingerprint=self.fingerprint,
            pid=self.pid,
            started=self.started,
            since=self.since,
            exits=self.exits,
            port=self.port,
            told=self.told,
        )


class ProcessRecords:
    """One small file per instance below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: ProcessRecord) -> None:
        """Replace the instance's record."""
        temporary = self._folder / f".tmp-{record.instance}.json"
        fp("service.record")
        temporary.write_bytes(encode(record))
        temporary.replace(self._folder / f"{record.instance}.json")

    def remove(self, instance: InstanceId) -> None:
        """The instance is stopped."""
        fp("service.forget")
        with contextlib.suppress(FileNotFoundError):
            (self._folder / f"{instance}.json").unlink()

    def read(self) -> list[ProcessRecord]:
        """All that can be read, under the names of today; anything else is no record."""
        found = []
        for path in sorted(self._folder.glob("[!.]*.json")):
            with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                record = msgspec.json.decode(path.read_bytes(), type=ProcessRecord)
                if path.stem != record.instance:  # an agent of before wrote one file per service
                    path.replace(self._folder / f"{record.instance}.json")
                found.append(record)
        return found


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: there is no such process, or it is a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def is_paused(pid: int) -> bool:
    """Whether a stop signal keeps it from running."""
    fields = _stat(pid)
    return fields is not None and fields[0] == b"T"


def open_same(record: ProcessRecord, boot: str) -> int | None:
    """A pidfd of the very process that the record means, None when it is gone."""
    if record.boot != boot:
        return None
    try:
        pidfd = os.pidfd_open(record.pid)
    except OSError:
        return None
    if start_ticks(record.pid) == record.ticks:
        return pidfd
    os.close(pidfd)
    return None


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat after the name."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
