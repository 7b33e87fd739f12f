"""A stream of records on disk until the server has them: numbered from 1, never repeated, bounded.

Segments of JSON lines (`<first number>.jsonl`), the newest one appended to. A line is a record `[number, …]` or, beginning with `{`,
a mark that travels with the records written before it (how far a log file was read). A torn last line is what a crash
left and is cut off. Acknowledged segments are deleted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.failpoints import fp

SEGMENT_BYTES = 512 << 10
_RESERVED = 20_000
"""Numbers are set aside in blocks of so many: a power cut may lose records that were sent, and their numbers must not come again."""
_ACKS_UNSAVED = 1000
"""An acknowledgement need not survive a crash: the server says what it has when the robot greets it. Writing each one down cost a
disk flush (a rename over an older file is one on ext4) in the middle of a switch."""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    reserved: int = 0
    acked: int = 0
    dropped: int = 0


@dataclass
class _Segment:
    path: Path
    first: int
    last: int
    size: int
    thinned: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to send, oldest first, as encoded; `last`: number of the last one; `dropped`: lost before the first."""

    records: list[bytes] = field(repr=False)
    last: int
    dropped: int


class Spool:
    """The stream below `folder`, kept under `limit` bytes. `durable`: each `append` is on disk when it returns.

    `droppable`: whether an encoded record may go first when there is too much.
    """

    def __init__(
        self, folder: Path, *, limit: int, durable: bool, droppable: Callable[[bytes], bool] = lambda record: False
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._durable = durable
        self._droppable = droppable
        self.mark: dict[str, object] = {}
        """The newest mark."""
        folder.mkdir(parents=True, exist_ok=True)
        self._state = self._read_state()
        self._saved_acked = self._state.acked
        self._segments = [self._open(path) for path in sorted(folder.glob("*.jsonl"))]
        newest = self._segments[-1].last if self._segments else 0
        self.last = max(newest, self._state.reserved, self._state.acked)
        self._fd = -1
        self._told = 0  # dropped records that the newest batch told of

    def append(self, records: Sequence[bytes], mark: bytes | None = None) -> int:
        """Add records (JSON of what follows the number); the number of the last one. Raises `OSError`, and then has added nothing."""
        if self.last + len(records) > self._state.reserved and not self._durable:
            self._save(msgspec.structs.replace(self._state, reserved=self.last + len(records) + _RESERVED), sync=True)
        number = self.last
        lines = []
        for record in records:
            number += 1
            lines.append(b"[%d,%b]\n" % (number, record))
        if mark is not None:
            lines.append(mark + b"\n")
        segment = self._current()
        data = b"".join(lines)
        try:
            fp("spool.before_write")
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            fp("spool.before_flush")
            if self._durable:
                os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, segment.size)
            raise
        segment.size += len(data)
        segment.last = self.last = number
        if mark is not None:
            self.mark = msgspec.json.decode(mark)
        self._bound()
        return number

    def batch(self, after: int, *, most: int = 500, size: int = 256 << 10) -> Batch | None:
        """The oldest records above `after` (at least one, then at most `most` or about `size` bytes); None: there are none."""
        found: list[bytes] = []
        last = total = 0
        self._told = self._state.dropped
        for segment in self._segments:
            if segment.last <= after or not segment.size:
                continue
            for line in segment.path.read_bytes()[: segment.size].splitlines():
                if line[:1] != b"[" or (number := _number(line)) <= after:
                    continue
                found.append(line)
                last = number
                total += len(line)
                if len(found) >= most or total >= size:
                    return Batch(found, last, self._state.dropped)
        return Batch(found, last, self._state.dropped) if found else None

    def acknowledge(self, number: int) -> None:
        """Everything up to `number` is stored by the server."""
        if number <= self._state.acked:
            return
        state = msgspec.structs.replace(self._state, acked=number, dropped=self._state.dropped - self._told)
        self._told = 0
        if state.dropped != self._state.dropped or number >= self._saved_acked + _ACKS_UNSAVED:
            self._save(state, sync=False)
        self._state = state
        if self._segments and self._segments[-1].last <= number and self._segments[-1].size >= SEGMENT_BYTES:
            self._current()  # the newest mark goes on in a new segment before the old one is deleted
        for segment in self._segments[:-1]:
            if segment.last > number:
                break
            self._forget(segment)

    @property
    def acked(self) -> int:
        """Newest number that the server is known to have."""
        return self._state.acked

    def skip_to(self, number: int) -> None:
        """The server knows numbers up to `number` of this stream: unsent records get new ones above it."""
        if number <= self.last:
            return
        pending = []
        batch = self.batch(self._state.acked)
        while batch is not None:
            pending += [record.partition(b",")[2][:-1] for record in batch.records]
            batch = self.batch(batch.last)
        self._close()
        for segment in list(self._segments):
            self._forget(segment)
        self.last = number
        self._save(msgspec.structs.replace(self._state, reserved=number, acked=number), sync=True)
        if pending or self.mark:
            self.append(pending, msgspec.json.encode(self.mark) if self.mark else None)

    def close(self) -> None:
        """Nothing more is appended."""
        if self._state.acked != self._saved_acked:
            with contextlib.suppress(OSError):
                self._save(self._state, sync=False)
        self._close()

    def _current(self) -> _Segment:
        if self._segments and self._segments[-1].size < SEGMENT_BYTES:
            segment = self._segments[-1]
            if self._fd < 0:
                self._fd = os.open(segment.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            return segment
        mark = msgspec.json.encode(self.mark) + b"\n" if self.mark else b""
        self._close()
        path = self._folder / f"{self.last + 1:020d}.jsonl"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fp("spool.new_segment")
        os.write(self._fd, mark)
        if self._durable:
            _sync_folder(self._folder)
        segment = _Segment(path, self.last + 1, self.last, len(mark))
        self._segments.append(segment)
        return segment

    def _bound(self) -> None:
        """Bring the stream under its limit: first the droppable records of the oldest segments, then those segments."""
        while sum(segment.size for segment in self._segments) > self._limit and len(self._segments) > 1:
            thick = next((segment for segment in self._segments[:-1] if not segment.thinned), None)
            if thick is not None:
                self._thin(thick)
                continue
            self._count_dropped(self._forget(self._segments[0]))

    def _thin(self, segment: _Segment) -> None:
        lines = segment.path.read_bytes()[: segment.size].splitlines(keepends=True)
        kept = [line for line in lines if line[:1] != b"[" or not self._droppable(line)]
        temporary = segment.path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(kept))
        fp("spool.thin")
        temporary.replace(segment.path)
        segment.size = sum(map(len, kept))
        segment.thinned = True
        self._count_dropped(len(lines) - len(kept))

    def _count_dropped(self, count: int) -> None:
        if count:
            self._save(msgspec.structs.replace(self._state, dropped=self._state.dropped + count), sync=False)

    def _forget(self, segment: _Segment) -> int:
        """Delete a segment; how many unacknowledged records it held."""
        lost = 0
        if segment.last > self._state.acked:
            lines = segment.path.read_bytes()[: segment.size].splitlines()
            lost = sum(1 for line in lines if line[:1] == b"[" and _number(line) > self._state.acked)
        fp("spool.forget")
        segment.path.unlink(missing_ok=True)
        self._segments.remove(segment)
        return lost

    def _open(self, path: Path) -> _Segment:
        """Read a segment that an earlier agent wrote, cutting off a torn end."""
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        first = int(path.stem)
        last = first - 1
        size = 0
        for line in data[:whole].splitlines(keepends=True):
            try:
                if line[:1] == b"[":
                    last = _number(line)
                else:
                    self.mark = msgspec.json.decode(line, type=dict[str, object])
            except (ValueError, msgspec.MsgspecError):
                break
            size += len(line)
        if size < len(data):
            fp("spool.cut")
            os.truncate(path, size)
        return _Segment(path, first, last, size)

    def _read_state(self) -> _State:
        try:
            return msgspec.json.decode((self._folder / "state.json").read_bytes(), type=_State)
        except (FileNotFoundError, msgspec.MsgspecError):
            return _State()

    def _save(self, state: _State, *, sync: bool) -> None:
        temporary = self._folder / ".state.json"
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(state))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        fp("spool.before_state")
        temporary.replace(self._folder / "state.json")
        if sync:
            _sync_folder(self._folder)
        self._state = state
        self._saved_acked = state.acked

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _number(line: bytes) -> int:
    return int(line[1 : line.index(b",")])


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
