"""Getting a deployment's content, in a thread: one pack, resumed where it broke off, and what the pack could not bring.

What was received of a large pack is kept in a file, so that a restarted agent goes on where the last one was.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.net.network import Answer, Content
from lekiwi_deploy.agent.slots import Slots
from lekiwi_deploy.client import faults
from lekiwi_deploy.content.apply import PackReader, WrongBase
from lekiwi_deploy.content.manifests import entries_for
from lekiwi_deploy.content.objects import CorruptObject
from lekiwi_deploy.content.receive import ObjectReceiver
from lekiwi_deploy.content.slots import MissingObjects, disk_needed
from lekiwi_deploy.content.stream import BadStream, Body, FrameReader, ObjectsFrame
from lekiwi_deploy.errors import Failed, LekiwiError, Unavailable
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import FileEntry, Manifest
from lekiwi_deploy.wire.platforms import Platform

_CHUNK = 128 << 10
_ERROR_BYTES = 64 << 10
"""Of an answer that is an error."""
_KEEP_FROM = 1 << 20
"""Bytes of a pack from which on they are kept in a file."""
_LEAST_ANSWER = 16 << 20
_RESUMES = 10
"""How often one download goes on by itself before it is reported as waiting."""
_REPAIR_AT_ONCE = 2000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPARE = 4 << 20
"""Bytes that staging must leave free."""


class Stopped(Exception):
    """The download is not wanted any more."""


class TicketExpired(LekiwiError):
    """The server wants another ticket for this content."""

    code = "unauthenticated"


class NoRoom(LekiwiError):
    """The disk is too full. Sizes in bytes."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(f"needs {needed} bytes, {free} are free")
        self.needed = needed
        self.free = free


@dataclass(frozen=True, slots=True)
class Job:
    """What to get. `base`: a present deployment to start from, None: from nothing. `rollback_to`: for its metadata."""

    ref: DeploymentRef
    ticket: str | None
    base: tuple[DeploymentId, ManifestDigest] | None
    rollback_to: DeploymentId | None


class Downloads:
    """What a robot of `platform` is missing, got from `content` (None: there is no network yet). `progress` is called from the thread with
    bytes received and in all (None: not known)."""

    def __init__(self, slots: Slots, folder: Path, platform: Platform) -> None:
        self.content: Content | None = None
        self._slots = slots
        self._folder = folder
        self._platform = platform

    def run(self, job: Job, stop: threading.Event, progress: Callable[[int, int | None], None]) -> int:
        """Get what is missing of `job.ref` and lay it out; bytes received. Blocks: run it in a thread.

        Raises `Stopped`, `TicketExpired`, `NoRoom`, `Unavailable` (try again), `OSError` (of the disk), and whatever is wrong with
        the content for good: `BadInput`, `NotFound`.
        """
        if self.content is None:
            raise Unavailable("there is no network")
        return _Download(self._slots, self._folder, self._platform, job, stop, progress, self.content).run()


class _Download:
    def __init__(
        self,
        slots: Slots,
        folder: Path,
        platform: Platform,
        job: Job,
        stop: threading.Event,
        progress: Callable[[int, int | None], None],
        content: Content,
    ) -> None:
        self._slots = slots
        self._folder = folder
        self._platform = platform
        self._job = job
        self._stop = stop
        self._progress = progress
        self._content = content
        self._received = 0

    def run(self) -> int:
        ref = self._job.ref
        fp("fetch.before")
        stored, manifest = self._known() or self._pack()
        for _ in range(3):
            missing = self._missing(manifest)
            if missing:
                self._repair(missing)
            fp("fetch.after")
            try:
                self._slots.publish(ref, stored, manifest, self._job.rollback_to)
            except MissingObjects:
                continue
            except CorruptObject as error:
                self._slots.objects.discard(error.digest)
                continue
            self._slots.remember(ref.id, manifest)
            for part in self._folder.glob("*.part"):  # of what is not wanted any more
                part.unlink(missing_ok=True)
            return self._received
        raise Unavailable("content on this robot's disk is damaged again and again")

    def _known(self) -> tuple[bytes, Manifest] | None:
        """The manifest, when a slot here has it already: then only objects may be missing."""
        job = self._job
        candidates = [job.ref.id] + ([job.base[0]] if job.base is not None and job.base[1] == job.ref.digest else [])
        for deployment in candidates:
            try:
                if self._slots.metadata(deployment).digest == job.ref.digest:
                    return self._slots.stored_manifest(deployment), self._slots.manifest(deployment)
            except LekiwiError:
                continue
        return None

    def _missing(self, manifest: Manifest) -> tuple[FileEntry, ...]:
        entries = entries_for(manifest, self._platform.key)
        return self._slots.objects.missing(entry for entry in entries if entry.size)

    def _pack(self) -> tuple[bytes, Manifest]:
        base = self._job.base
        for attempt in (0, 1, 2):
            try:
                return self._one_pack(base)
            except WrongBase:
                base = None
            except BadStream:
                if attempt == 2:
                    raise Unavailable("what the server sends is damaged on the way") from None
                if attempt == 1:
                    base = None
        raise Unavailable("what the server sends starts from something else than asked for")

    def _one_pack(self, base: tuple[DeploymentId, ManifestDigest] | None) -> tuple[bytes, Manifest]:
        old = self._slots.stored_manifest(base[0]) if base is not None else None
        digest = self._job.ref.digest
        kept = _Kept(self._folder / f"{digest}-{base[1] if base is not None else 0}")
        reader = PackReader(self._slots.objects, digest, self._platform.key, old)
        try:
            roomy = False
            for chunk in kept.read():
                reader.feed(chunk)
            query = f"?platform={self._platform.key}" + (f"&from={base[1]}" if base is not None else "")
            for chunk in self._resumed(f"/content/packs/{digest}{query}", kept):
                reader.feed(chunk)
                if reader.manifest is not None and not roomy:
                    self._check_room(reader.manifest)
                    roomy = True
            applied = reader.finish()
        except (BadStream, WrongBase):
            kept.remove()
            raise
        except OSError as error:
            if error.errno in _FULL:
                kept.remove()
            raise self._disk(error) from error
        finally:
            reader.close()
            kept.close()
        kept.remove()
        return applied.stored_manifest, applied.manifest

    def _resumed(self, path: str, kept: _Kept) -> Iterator[bytes]:
        """The pack's bytes after those that are kept, over as many connections as it takes."""
        breaks = 0
        while True:
            try:
                answer = self._answered(path, start=kept.size, limit=self._allowed())
                try:
                    if kept.size and answer.status != 206:
                        raise BadStream("the server cannot resume it")
                    total = kept.size + answer.length if answer.length is not None else None
                    for chunk in answer.pieces():
                        self._received += len(chunk)
                        kept.add(chunk)
                        yield chunk
                        self._progress(kept.size, total)
                        if self._stop.is_set():
                            raise Stopped
                    if total is None or kept.size >= total:
                        return
                finally:
                    answer.close()
            except Unavailable:
                breaks += 1
                if breaks > _RESUMES or not kept.size:
                    raise
                if self._stop.wait(min(15.0, 0.1 * 2.0**breaks)):
                    raise Stopped from None

    def _repair(self, missing: tuple[FileEntry, ...]) -> None:
        """Get these objects whole."""
        sizes = {entry.digest: entry.size for entry in missing}
        digests = list(sizes)
        self._check_free(sum(-(-entry.size // 4096) * 4096 for entry in missing))
        for start in range(0, len(digests), _REPAIR_AT_ONCE):
            body = encode(digests[start : start + _REPAIR_AT_ONCE])
            frames, receiver = FrameReader(), ObjectReceiver(self._slots.objects, sizes, missing)
            try:
                answer = self._answered("/content/objects", post=body, limit=self._allowed())
                try:
                    for chunk in answer.pieces():
                        self._received += len(chunk)
                        for event in frames.feed(chunk):
                            if isinstance(event, ObjectsFrame):
                                receiver.begin(event)
                            elif isinstance(event, Body):
                                receiver.body(event)
                        if self._stop.is_set():
                            raise Stopped
                finally:
                    answer.close()
                frames.finish()
                receiver.finish()
                self._slots.objects.commit()
            except BadStream as error:
                raise Unavailable(f"repair: {error.message}") from error
            except OSError as error:
                raise self._disk(error) from error
            finally:
                receiver.close()
                self._slots.objects.drop_staged()

    def _answered(self, path: str, *, limit: int, start: int = 0, post: bytes | None = None) -> Answer:
        """A good answer, its body not read yet."""
        if self._job.ticket is None:
            raise TicketExpired("there is no ticket for this content yet")
        answer = self._content.ask(path, ticket=self._job.ticket, limit=limit, start=start, post=post)
        if answer.status in (200, 206):
            return answer
        data = b""
        try:
            for chunk in answer.pieces():
                data += chunk
                if len(data) > _ERROR_BYTES:
                    break
        finally:
            answer.close()
        error = faults.from_answer("the server", answer.status, data[:_ERROR_BYTES], {})
        if answer.status == 401:
            raise TicketExpired(error.message)
        if answer.status == 416:
            raise BadStream("the server has less of it than was received")
        if answer.status >= 500 or answer.status == 429 or isinstance(error, Unavailable):
            raise Unavailable(error.message)
        if answer.status == 403:
            raise Failed(error.message)
        raise error

    def _check_room(self, manifest: Manifest) -> None:
        self._check_free(disk_needed(self._slots.objects, manifest, self._platform.key).bytes)

    def _check_free(self, needed: int) -> None:
        free = self._free()
        if needed + _SPARE > free:
            raise NoRoom(needed + _SPARE, free)

    def _free(self) -> int:
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def _allowed(self) -> int:
        """More bytes than that could not be kept, so no server may send them."""
        return max(self._free(), _LEAST_ANSWER)

    def _disk(self, error: OSError) -> Exception:
        return NoRoom(_SPARE, self._free()) if error.errno in _FULL else error


class _Kept:
    """The bytes of a pack received so far: in memory while they are few, then in a file that outlives the agent."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(".part")
        self._few: list[bytes] = []
        self._file = -1
        try:
            self.size = self._path.stat().st_size
        except FileNotFoundError:
            self.size = 0

    def read(self) -> Iterator[bytes]:
        """What an earlier agent received."""
        if self.size:
            with self._path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._file < 0 and self.size < _KEEP_FROM:
            self._few.append(chunk)
            return
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            chunk, self._few = b"".join((*self._few, chunk)), []
        fp("fetch.kept")
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        self.close()
        fp("fetch.forget_kept")
        self._path.unlink(missing_ok=True)
        self.size = 0
