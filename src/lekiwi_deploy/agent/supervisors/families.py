"""The processes that a service started, also those that left its session: found by an inherited variable, or because the
kernel hands orphans to the agent (which is their subreaper)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphans of this process's descendants become its children from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def children() -> set[int]:
    """The agent's children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return found


def reap(known: Collection[int]) -> None:
    """Bury dead orphans: children that are not in `known` (those have someone who waits for them)."""
    for pid in children().difference(known):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def is_of(pid: int, session: int | None, family: str) -> bool:
    """Whether the process belongs to the session or inherited the variable assignment `family`. Zombies belong to nobody."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] in (b"Z", b"X"):
            return False
        if session is not None and int(fields[3]) == session:
            return True
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return family.encode() in file.read().split(b"\0")
    except OSError:
        return False


def everyone() -> Iterator[int]:
    """Every process id on the machine, but our own."""
    me = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal() and int(name) != me:
            yield int(name)


def members(candidates: Collection[int] | None, session: int | None, family: str) -> list[int]:
    """Which of `candidates` (None: of all processes) are of that session or family."""
    pool = everyone() if candidates is None else candidates
    return [pid for pid in pool if is_of(pid, session, family)]


def strays(families: str, adopted_sessions: Collection[int]) -> list[int]:
    """Processes that inherited an assignment beginning with `families` and are of no adopted session: an agent that died between
    starting them and writing it down left them."""
    found = []
    prefix = families.encode()
    for pid in everyone():
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
                if not any(item.startswith(prefix) for item in file.read().split(b"\0")):
                    continue
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
                session = int(file.read().rpartition(b")")[2].split()[3])
            if session not in adopted_sessions:
                found.append(pid)
    return found


def kill(pids: Collection[int]) -> list[int]:
    """SIGKILL each; pidfds that become readable when they are gone."""
    fds = []
    for pid in pids:
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            except OSError:
                os.close(fd)
                continue
            fds.append(fd)
    return fds
