"""The locks of exclusive hardware: one file each, locked with flock(2) by whoever uses the hardware (docs/robot-contract.md)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LockSeen:
    """`held`: by somebody. `holders`, `waiters`: process ids, as far as the kernel tells; a holder may be gone while its lock is kept by a
    process that inherited it."""

    held: bool
    holders: frozenset[int]
    waiters: frozenset[int]


def make_lock(path: Path) -> None:
    """Make the file if it is not there. Who may read it may lock it; nobody needs to write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock. Nobody is kept from it by asking."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def look(path: Path) -> LockSeen:
    """Who has the lock and who waits for it, as the kernel lists it (proc_locks(5))."""
    try:
        status = path.stat()
        with open("/proc/locks", "rb") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return LockSeen(is_held(path), frozenset(), frozenset())
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}".encode()
    holders: set[int] = set()
    waiters: set[int] = set()
    for line in lines:
        fields = line.split()
        waits = len(fields) > 1 and fields[1] == b"->"
        rest = fields[2:] if waits else fields[1:]
        if len(rest) < 5 or rest[0] != b"FLOCK" or rest[4] != place:
            continue
        with contextlib.suppress(ValueError):
            (waiters if waits else holders).add(int(rest[3]))
    return LockSeen(bool(holders) or is_held(path), frozenset(holders), frozenset(waiters))


def session_of(pid: int) -> int | None:
    """The session of a process, which its instance's first process leads; None: it is gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return None
