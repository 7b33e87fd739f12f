"""Which processes an agent started, so that the next agent finds them again.

Not flushed to disk: what a power cut loses of it, it killed as well.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path

import msgspec

from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`ticks`: start time in clock ticks since boot, which with `pid` and `boot` names a process for good."""

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


class ProcessRecords:
    """One small file per service below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: ProcessRecord) -> None:
        """Replace the service's record."""
        path = self._folder / f"{record.service}.json"
        temporary = self._folder / f".tmp-{record.service}.json"
        temporary.write_bytes(encode(record))
        temporary.replace(path)

    def remove(self, service: str) -> None:
        """The service is stopped."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / f"{service}.json").unlink()

    def read(self) -> list[ProcessRecord]:
        """All that can be read; anything else is no record."""
        found = []
        for path in sorted(self._folder.glob("[!.]*.json")):
            with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                found.append(msgspec.json.decode(path.read_bytes(), type=ProcessRecord))
        return found


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None: there is no such process, or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


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
