"""The lock of /run/lekiwi/busy: whoever holds it, shared or exclusive, holds a switch off, until it lets go or dies.

Whether it is held is asked of the kernel by trying to take it; who holds it stands in /proc/locks, or, where whoever took it is gone and
handed it on (a shell's `exec 9<…; flock -s 9`), in the open files of the processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.inotify import CLOSED, FileEvents
from lekiwi_deploy.robot.holds import MAX_OWNER, MAX_REASON, Lock

REASON, OWNER = "LEKIWI_HOLD_REASON", "LEKIWI_HOLD_OWNER"
"""Variables of a process that takes the lock, by which it can say more than its name."""
_SERVICE = "LEKIWI_SERVICE"


class BusyLock:
    """The file at `path`, made if need be. `let_go` is called when somebody closed it, as the kernel does for those who die."""

    def __init__(self, path: Path, *, let_go: Callable[[], None]) -> None:
        self._path = path
        self._let_go = let_go
        self._fd = -1
        self._events: FileEvents | None = None
        self._since: dict[tuple[int, ...], Lock] = {}

    def open(self) -> None:
        """Make and watch the file; every user may lock it. Raises `OSError`."""
        self.close()
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with contextlib.suppress(PermissionError):
            os.fchmod(self._fd, 0o644)
        try:
            self._events = FileEvents(lambda _: self._let_go())
            self._events.watch(self._path, CLOSED)
        except OSError:  # no inotify to be had: a hold's end is noticed at the next look
            self._events = None

    def close(self) -> None:
        """Watch no more."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def locks(self) -> tuple[Lock, ...]:
        """Who holds it now, one entry for each process that took it; empty: nobody. Raises `OSError` where the file cannot be had."""
        if self._fd < 0 or not self._is_there():
            self.open()
        if not self._held():
            self._since.clear()
            return ()
        found = tuple(self._known(group) for group in self._holders())
        self._since = {lock.pids: lock for lock in found}
        return found

    def _is_there(self) -> bool:
        try:
            there, ours = self._path.stat(follow_symlinks=False), os.fstat(self._fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def _held(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return False

    def _holders(self) -> tuple[tuple[int, ...], ...]:
        """A group of process ids for each lock; one empty group when nobody can be named."""
        pids = _named_by_kernel(self._fd)
        if pids and all(_alive(pid) for pid in pids):
            return tuple((pid,) for pid in pids)
        having = _having_open(self._fd)
        return (having,) if having else ((),)

    def _known(self, pids: tuple[int, ...]) -> Lock:
        before = self._since.get(pids)
        if before is not None:
            return before
        owner, reason = _described(pids)
        return Lock(owner=owner, reason=reason, pids=pids, seen=machine.boottime(), since=machine.utc_now())


def _named_by_kernel(fd: int) -> tuple[int, ...]:
    """Process ids that /proc/locks has for the file."""
    where = f"{_device(fd)}:{os.fstat(fd).st_ino}"
    pids: list[int] = []
    with contextlib.suppress(OSError), open("/proc/locks") as locks:  # noqa: PTH123
        for line in locks:
            fields = line.split()
            # 1: FLOCK  ADVISORY  READ 708 00:18:2359 0 EOF; those who wait have "->" before FLOCK
            if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == where:
                pids.append(int(fields[4]))
    return tuple(sorted(set(pids)))


def _device(fd: int) -> str:
    """The device of the file's file system as /proc/locks writes it: `00:18`. That of `stat` differs on some file systems."""
    mount = next(line.split()[1] for line in _lines(f"/proc/self/fdinfo/{fd}") if line.startswith("mnt_id:"))
    for line in _lines("/proc/self/mountinfo"):
        fields = line.split(maxsplit=3)
        if fields[0] == mount:
            major, minor = fields[2].split(":")
            return f"{int(major):02x}:{int(minor):02x}"
    return ""


def _having_open(fd: int) -> tuple[int, ...]:
    """Processes that have the file open with a lock on it."""
    ours = os.fstat(fd)
    found: list[int] = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal() and int(name) != os.getpid() and _has_locked(name, ours):
            found.append(int(name))
    return tuple(sorted(found))


def _has_locked(pid: str, ours: os.stat_result) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            there = os.stat(f"/proc/{pid}/fd/{fd}")  # noqa: PTH116
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return any(line.startswith("lock:") for line in _lines(f"/proc/{pid}/fdinfo/{fd}"))
    except OSError:  # it ended, or is another user's
        pass
    return False


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _described(pids: tuple[int, ...]) -> tuple[str, str]:
    """Owner and reason of whoever has the lock."""
    if not pids:
        return "a program that cannot be named", "busy"
    said = _environment(pids[0])
    name = said.get(OWNER) or said.get(_SERVICE) or (_lines(f"/proc/{pids[0]}/comm") or ["a program"])[0]
    more = f" and {len(pids) - 1} more" if len(pids) > 1 else ""
    return f"{_shown(name, MAX_OWNER)} (pid {pids[0]}{more})", _shown(said.get(REASON, ""), MAX_REASON) or "busy"


def service_of(pid: int) -> str | None:
    """The service that a process belongs to, by the variable that it inherited; None: none, or it may not be looked at."""
    return _environment(pid).get(_SERVICE)


def _environment(pid: int) -> Mapping[str, str]:
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return {name: value for name, equals, value in (item.partition("=") for item in data.split("\0")) if equals}


def _shown(text: str, most: int) -> str:
    return "".join(character for character in text if character.isprintable()).strip()[:most]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
