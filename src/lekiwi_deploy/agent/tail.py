"""Following what services write to their log files, line by line, into the log spool; and keeping those files small.

A file that grew over its limit is copied to `<name>.log.1` and truncated (its writers append, so they go on at its new end).
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.inotify import FileEvents
from lekiwi_deploy.agent.log_lines import LineSplitter, level_of
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.variables.blotting import blot
from lekiwi_deploy.agent.variables.masking import Mask
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import LogLine

FILE_BYTES = 8 << 20
"""Size at which a log file is cut."""
_SETTLE_S = 0.1
"""After a write we wait so long for more of it."""
_CHUNK = 256 << 10
_AT_ONCE = 4 << 20
"""Bytes read of one file in one go; a service that writes faster than that has the rest skipped, with a line that says so."""
_KEPT_LINES = 20
_POLL_S = 0.5


@dataclass
class _File:
    path: Path
    service: str
    offset: int = 0
    inode: int = 0
    splitter: LineSplitter = field(default_factory=LineSplitter)
    deployment: DeploymentId | None = None
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    due: asyncio.TimerHandle | None = None


class Tail:
    """Of all services. `appended` is called when there is more to send, `trouble` with what a person should know. What `mask` hides is
    taken out of the files, too."""

    def __init__(
        self, spool: Spool, *, appended: Callable[[], None], trouble: Callable[[str], None], mask: Mask
    ) -> None:
        self._spool = spool
        self._mask = mask
        self._appended = appended
        self._trouble = trouble
        self._files: dict[str, _File] = {}
        self._by_path: dict[Path, str] = {}
        self._lost = 0
        self._unblotted = False
        self._next_poll: asyncio.TimerHandle | None = None
        try:
            self._events: FileEvents | None = FileEvents(self._written)
        except OSError as error:
            self._events = None
            trouble(
                f"log files are looked at twice a second, because the kernel cannot tell of changes: {error.strerror}"
            )
            self._poll()

    def follow(self, instance: str, service: str, path: Path, deployment: DeploymentId) -> None:
        """From now on what `instance`, a version of `service`, writes to `path` is of `deployment`. What it wrote before was of the one
        before."""
        file = self._files.get(instance)
        if file is not None and file.path != path:
            self.leave(instance)
            file = None
        if file is None:
            file = self._files[instance] = _File(path, service, splitter=LineSplitter(self._mask.hide))
            self._by_path[path] = instance
            path.touch(mode=0o640)
            file.inode = path.stat().st_ino
            place = self._spool.mark.get(instance)
            if isinstance(place, list) and len(place) == 2 and place[0] == file.inode:
                file.offset = int(place[1])
        else:
            self.drain(instance)
        if file.deployment != deployment:
            file.newest.clear()
        file.deployment = deployment
        if self._events is not None:
            self._events.watch(path)
        self._soon(file, instance)

    def leave(self, instance: str) -> None:
        """It has ended: read what is left, and follow it no more."""
        self.drain(instance, ended=True)
        file = self._files.pop(instance, None)
        if file is not None:
            self._by_path.pop(file.path, None)
            if self._events is not None:
                self._events.unwatch(file.path)

    def drain(self, instance: str, *, ended: bool = False) -> None:
        """Read all that is there now. `ended`: nothing comes after it, so an unfinished line is one, too."""
        file = self._files.get(instance)
        if file is None:
            return
        if file.due is not None:
            file.due.cancel()
            file.due = None
        try:
            self._read(instance, file, ended)
        except OSError as error:
            self._trouble(f"the output of {file.service} cannot be read: {error.strerror}")

    def last_lines(self, instance: str) -> tuple[str, ...]:
        """The newest lines that it wrote, oldest first."""
        if instance not in self._files:
            return ()
        self.drain(instance, ended=True)
        return tuple(self._files[instance].newest)

    def close(self) -> None:
        """Read what is there and stop."""
        for instance in self._files:
            self.drain(instance)
        if self._next_poll is not None:
            self._next_poll.cancel()
        if self._events is not None:
            self._events.close()

    def _written(self, path: Path) -> None:
        instance = self._by_path.get(path)
        if instance is not None:
            self._soon(self._files[instance], instance)

    def _soon(self, file: _File, instance: str) -> None:
        if file.due is None:
            file.due = asyncio.get_running_loop().call_later(_SETTLE_S, self.drain, instance)

    def _poll(self) -> None:
        for instance in self._files:
            self.drain(instance)
        self._next_poll = asyncio.get_running_loop().call_later(_POLL_S, self._poll)

    def _read(self, instance: str, file: _File, ended: bool) -> None:
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(fd)
            if status.st_ino != file.inode or status.st_size < file.offset:  # replaced or truncated by someone
                file.inode, file.offset = status.st_ino, 0
            lines: list[str] = []
            skipped = status.st_size - file.offset - _AT_ONCE
            if skipped > 0:
                self._blot(file, fd, skipped)
                lines += [*file.splitter.flush(skipped=True), f"… {skipped} bytes of output skipped: too much at once"]
                file.offset += skipped
            before = file.offset
            while chunk := os.pread(fd, _CHUNK, file.offset):
                self._blot(file, fd, len(chunk))
                file.offset += len(chunk)
                lines += file.splitter.feed(chunk)
                if file.offset - before > 2 * _AT_ONCE:
                    self._soon(file, instance)
                    break
            if ended:
                lines += file.splitter.flush()
            if lines:
                self._add(file, lines)
            if file.offset >= FILE_BYTES:
                self._cut(file, fd)
        finally:
            os.close(fd)

    def _blot(self, file: _File, fd: int, length: int) -> None:
        try:
            blot(self._mask, fd, file.offset, file.offset + length)
        except OSError as error:
            if not self._unblotted:
                self._trouble(f"secrets that {file.service} wrote stay in {file.path}: {error.strerror}")
            self._unblotted = True

    def _add(self, file: _File, lines: list[str]) -> None:
        file.newest.extend(lines[-_KEPT_LINES:])
        at = machine.utc_now()
        records = [
            msgspec.json.encode(
                LogLine(
                    at=at,
                    service=file.service,
                    deployment=file.deployment,
                    stream="out",
                    text=text,
                    level=level_of(text),
                )
            )
            for text in lines
        ]
        mark = {name: [other.inode, other.offset - other.splitter.held] for name, other in self._files.items()}
        try:
            self._spool.append(records, msgspec.json.encode(mark))
        except OSError as error:
            if not self._lost:
                self._trouble(f"log lines are lost: {error.strerror}")
            self._lost += len(lines)
            return
        if self._lost:
            self._trouble(f"{self._lost} log lines were lost; now they are kept again")
            self._lost = 0
        self._appended()

    def _cut(self, file: _File, fd: int) -> None:
        kept = file.path.with_name(file.path.name + ".1")
        temporary = kept.with_name(kept.name + ".tmp")
        try:
            with temporary.open("wb") as copy:
                sent, start = 0, max(0, file.offset - FILE_BYTES)
                while sent < file.offset - start:
                    count = os.sendfile(copy.fileno(), fd, start + sent, file.offset - start - sent)
                    if not count:
                        break
                    sent += count
            temporary.replace(kept)
        except OSError as error:  # no room for the copy: all the more reason to cut
            temporary.unlink(missing_ok=True)
            self._trouble(f"{kept.name} was not kept: {error.strerror}")
        if os.fstat(fd).st_size == file.offset:  # otherwise more came meanwhile: next time
            os.truncate(file.path, 0)
            file.offset = 0
