"""Objects out of a stream into a robot's object folder, frame by frame, each verified before it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import zstandard

from lekiwi_deploy.content.compression import Overflow, Sink, unpacker
from lekiwi_deploy.content.memory import give_back_memory
from lekiwi_deploy.content.objects import CorruptObject, ObjectFolder, ObjectWriter
from lekiwi_deploy.content.stream import (
    BadStream,
    Base,
    Body,
    End,
    Event,
    FrameReader,
    ManifestFrame,
    ObjectsFrame,
    PackedFrame,
    plain_size,
)
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

_MUCH = 4 << 20
"""Bytes after which it is worth telling the C library that memory is not needed any more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object that may come: its size, and the forms in which it is stored."""

    size: int
    plain: bool
    executable: bool


def wanted_objects(missing: Iterable[FileEntry]) -> dict[ObjectDigest, Wanted]:
    """What `ObjectFolder.missing` found, by digest. Raises `BadStream` when entries disagree about an object's size."""
    wanted: dict[ObjectDigest, Wanted] = {}
    for entry in missing:
        executable = entry.kind is FileKind.EXECUTABLE
        known = wanted.get(entry.digest, Wanted(entry.size, False, False))
        if known.size != entry.size:
            raise BadStream(f"object {entry.digest[:12]}… has two sizes")
        wanted[entry.digest] = Wanted(entry.size, known.plain or not executable, known.executable or executable)
    return wanted


class ObjectReceiver:
    """Unpacks frames of objects into `folder`, where they are staged.

    `sizes`: every object that may come, with its size; anything else is refused. `missing`: those that are needed. An object that
    cannot be had from the stream (its base is not here or damaged, or it is not what its digest says) is noted in `failed`
    with the reason and does not disturb the others. `plain`: unpacked bytes of all frames so far, skipped ones too.
    """

    def __init__(self, folder: ObjectFolder, sizes: Mapping[ObjectDigest, int], missing: Iterable[FileEntry]) -> None:
        self.failed: dict[ObjectDigest, str] = {}
        self.stored = 0
        self.plain = 0
        self._folder = folder
        self._sizes = sizes
        self._needed = wanted_objects(missing)
        self._frame = ObjectsFrame((), (), 0)
        self._part = 0  # index of the part that the next unpacked byte belongs to
        self._left = 0  # bytes of it still to come
        self._unpack: zstandard.ZstdDecompressionWriter | None = None  # None: the frame is skipped
        self._writer: ObjectWriter | None = None  # of an object that is under way, over several frames perhaps

    @property
    def needed(self) -> tuple[ObjectDigest, ...]:
        """What has neither come nor failed."""
        return tuple(self._needed)

    def begin(self, frame: ObjectsFrame) -> None:
        """The next frame. Raises `BadStream` when it holds what may not come."""
        for part in frame.parts:
            digest = _hex(part.digest)
            if self._sizes.get(digest) != part.size:
                raise BadStream(f"object {digest[:12]}… of {part.size} bytes was not asked for")
        self.plain += plain_size(frame)
        self._frame, self._part, self._left = frame, 0, frame.parts[0].length
        self._unpack = None
        if not any(_hex(part.digest) in self._needed for part in frame.parts):
            return
        try:
            dictionary = b"".join(self._base(base) for base in frame.bases)
        except (NotFound, CorruptObject) as error:
            self._fail_frame(error.message)
            return
        self._unpack = unpacker(Sink(self._unpacked, plain_size(frame)), base=dictionary)
        self._open()

    def body(self, body: Body) -> None:
        """The next bytes of the frame."""
        if self._unpack is None:
            return
        try:
            self._unpack.write(body.data)
        except (zstandard.ZstdError, Overflow) as error:
            self._fail_frame(f"cannot be unpacked ({error})")
        else:
            if body.last:
                if self._part < len(self._frame.parts):
                    self._fail_frame("unpacks to less than it should")
                self._unpack = None

    def finish(self) -> None:
        """The stream is over."""
        if self._writer is not None:
            self._fail(self._writer.digest, "came only in part")

    def close(self) -> None:
        """Give up what is under way. May be called twice."""
        self._unpack = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self.plain > _MUCH:
            give_back_memory()
            self.plain = 0

    def _unpacked(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            piece, view = view[: self._left], view[self._left :]
            self._left -= len(piece)
            if self._writer is not None:
                try:
                    self._writer.write(piece)
                except CorruptObject as error:
                    self._fail(error.digest, error.message)
            if not self._left:
                self._part_done()

    def _part_done(self) -> None:
        writer = self._writer
        if writer is not None and writer.written == writer.size:
            wanted = self._needed[writer.digest]
            try:
                writer.finish(plain=wanted.plain, executable=wanted.executable)
            except CorruptObject as error:
                self._blame_bases()
                self._fail(error.digest, error.message)
            else:
                writer.close()
                self._writer = None
                self.stored += 1
                del self._needed[writer.digest]
        self._part += 1
        if self._part < len(self._frame.parts):
            self._left = self._frame.parts[self._part].length
            self._open()

    def _open(self) -> None:
        """Make `_writer` that of the current part, or None when it is not needed."""
        part = self._frame.parts[self._part]
        digest = _hex(part.digest)
        if self._writer is not None and self._writer.digest != digest:
            self._fail(self._writer.digest, "came only in part")
        if self._writer is None and digest in self._needed:
            self._writer = self._folder.write(digest, part.size)

    def _base(self, base: Base) -> bytes:
        digest = _hex(base.digest)
        data = self._folder.read(digest, base.offset, base.length)
        if len(data) != base.length:
            self._folder.discard(digest)
            raise CorruptObject(digest, "is shorter on this robot than it should be")
        return data

    def _blame_bases(self) -> None:
        """What was unpacked with these bases is wrong: if one of them is damaged, it is no object any more."""
        for base in self._frame.bases:
            digest = _hex(base.digest)
            if not any(self._folder.verify(digest, executable=executable) for executable in (False, True)):
                self._folder.discard(digest)

    def _fail_frame(self, why: str) -> None:
        self._unpack = None
        for part in self._frame.parts[self._part :]:
            self._fail(_hex(part.digest), why)

    def _fail(self, digest: ObjectDigest, why: str) -> None:
        if self._writer is not None and self._writer.digest == digest:
            self._writer.close()
            self._writer = None
        if self._needed.pop(digest, None) is not None:
            self.failed[digest] = why


def receive_objects(chunks: Iterable[bytes], folder: ObjectFolder, entries: Iterable[FileEntry]) -> int:
    """Take a stream of objects (repair of what a pack could not bring) into `folder`, durably; how many were new.

    `entries`: what was asked for. Raises `CorruptObject` when one of them came damaged, `NotFound` when one did not come,
    `BadStream`, `OSError`; what arrived whole before that is kept.
    """
    entries = tuple(entries)
    reader = FrameReader()
    receiver = ObjectReceiver(folder, {entry.digest: entry.size for entry in entries}, folder.missing(entries))
    try:
        for chunk in chunks:
            feed(receiver, reader.feed(chunk))
        reader.finish()
        receiver.finish()
    finally:
        receiver.close()
        folder.commit()
    for digest, why in receiver.failed.items():
        raise CorruptObject(digest, why)
    if receiver.needed:
        raise NotFound(f"{len(receiver.needed)} objects did not come", details={"digests": list(receiver.needed)})
    return receiver.stored


def feed(receiver: ObjectReceiver, events: Iterable[Event]) -> None:
    """Hand over what a `FrameReader` found. Raises `BadStream` for anything but objects."""
    for event in events:
        match event:
            case ObjectsFrame():
                receiver.begin(event)
            case Body():
                receiver.body(event)
            case ManifestFrame() | PackedFrame():
                raise BadStream("part of a pack where only objects are expected")
            case End():
                pass


def _hex(digest: bytes) -> ObjectDigest:
    return ObjectDigest(digest.hex())
