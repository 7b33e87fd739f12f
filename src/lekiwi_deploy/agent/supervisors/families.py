"""The processes that an instance started, also those that left its session: found by an inherited variable, or because the
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


def children(of: int | None = None) -> set[int]:
    """The children of a process (None: of the agent), zombies included."""
    found: set[int] = set()
    try:
        tasks = list(Path(f"/proc/{'self' if of is None else of}/task").iterdir())
    except OSError:
        return found
    for task in tasks:
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return found


def descendants(pid: int) -> set[int]:
    """The process and all that it started and that did not lose their parent."""
    found, new = {pid}, {pid}
    while new:
        new = set().union(*(children(one) for one in new)) - found
        found |= new
    return found


def reap(known: Collection[int]) -> None:
    """Bury dead orphans: children that are not in `known` (those have someone who waits for them)."""
    for pid in children().difference(known):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def is_of(pid: int, session: int | None, family: str) -> bool:
    """Whether the process belongs to the session or inherited the variable assignment `family`. Zombies belong to nobody."""
    try:
        fields = _stat(pid)
        if fields[0] in (b"Z", b"X"):
            return False
        if session is not None and int(fields[3]) == session:
            return True
        return family.encode() in _variables(pid)
    except OSError:
        return False


def may_speak(pid: int, uid: int, session: int | None, family: str) -> bool:
    """Whether a message from process `pid` of user `uid` is of that session or family. Of one that is gone already only its user can be
    checked, which is enough: a process of our own user could do anything to the instance anyway."""
    if pid == session:
        return True
    try:
        fields = _stat(pid)
    except OSError:
        return uid == os.geteuid()
    if fields[0] in (b"Z", b"X"):
        return session is not None and int(fields[3]) == session
    return is_of(pid, session, family)


def port_of(pid: int) -> int | None:
    """What PORT a process was given."""
    with contextlib.suppress(OSError, ValueError):
        for item in _variables(pid):
            if item.startswith(b"PORT="):
                return int(item[5:])
    return None


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


def strays(families: str, adopted_sessions: Collection[int], adopted_families: Collection[str]) -> list[int]:
    """Processes that inherited an assignment beginning with `families` and are of no adopted session or family: an agent that died
    between starting them and writing it down left them."""
    found = []
    prefix, known = families.encode(), {family.encode() for family in adopted_families}
    for pid in everyone():
        with contextlib.suppress(OSError, IndexError, ValueError):
            variables = _variables(pid)
            if not any(item.startswith(prefix) for item in variables) or not known.isdisjoint(variables):
                continue
            if int(_stat(pid)[3]) not in adopted_sessions:
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


def _stat(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()


def _variables(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
        return file.read().split(b"\0")
