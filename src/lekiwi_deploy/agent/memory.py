"""How much memory the machine has left, and how much a service takes."""

from __future__ import annotations

import contextlib
import os

from lekiwi_deploy.agent.supervisors.families import descendants
from lekiwi_deploy.robot.instance_types import Room

_PAGE = os.sysconf("SC_PAGE_SIZE")


def room() -> Room:
    """The machine, now; zeros where the kernel does not tell."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo", "rb") as file:  # noqa: PTH123
        for line in file.read(1024).splitlines():
            name, _, rest = line.partition(b":")
            if name in (b"MemTotal", b"MemAvailable"):
                found[name] = int(rest.split()[0]) * 1024
    if len(found) < 2:
        return Room()
    return Room(available=found[b"MemAvailable"], total=found[b"MemTotal"])


def resident(pid: int) -> int:
    """Bytes of memory of a process and of what it started; what they share is counted for each."""
    size = 0
    for one in descendants(pid):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{one}/statm", "rb") as file:  # noqa: PTH123
            size += int(file.read().split()[1]) * _PAGE
    return size
