"""The object stream: how manifests and file contents travel. This module knows frames, not what is in them.

A stream is `MAGIC`, then frames: 4 bytes length of the header (big-endian), the header (MessagePack), its body. A body is one
zstd frame of the parts, one after the other; with bases, their bytes, one after the other, are its dictionary. The last
frame is `End`. Objects may lie in several frames: consecutive parts of the same digest continue each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from lekiwi_deploy.content.entries import MAX_FILE
from lekiwi_deploy.content.manifests import MAX_MANIFEST
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.manifest import FileEntry

MAGIC = b"LKP1"
MAX_HEADER = 1 << 16
MAX_PARTS = 512
MAX_SEGMENT = 8 << 20
"""Plain bytes of all parts of a frame that has bases or several parts: such a frame is unpacked in memory."""
MAX_BASES = 24 << 20
"""Bytes of all bases of a frame."""
MAX_WINDOW = 8 << 20
"""Bytes that unpacking may have to look back, beside bases."""


class BadStream(BadInput):
    """An object stream that cannot be what was sent: damaged, cut off, or not one at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the object stream is damaged: {reason}")


class Part(msgspec.Struct, frozen=True, array_like=True):
    """`length` bytes of the object `digest` (32 bytes, BLAKE3), which has `size` in all."""

    digest: bytes
    size: int
    length: int


class Base(msgspec.Struct, frozen=True, array_like=True):
    """`length` bytes from `offset` of an object that the receiver has."""

    digest: bytes
    offset: int
    length: int


class ManifestFrame(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """A manifest's stored bytes: `digest` (32 bytes, SHA-256), plain `size`; `base`: digest of the manifest that is the dictionary."""

    digest: bytes
    size: int
    base: bytes | None
    body: int


class ObjectsFrame(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """Objects or parts of them, `body` bytes as sent."""

    parts: tuple[Part, ...]
    bases: tuple[Base, ...]
    body: int


class PackedFrame(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """An `ObjectsFrame` between two who know the same manifests: numbers of entries (in the list that the robot's platform gets) in
    place of digests. Of `parts` into the new manifest: the number alone for a whole object, else (number, length). Of `bases`
    into the old one: the number alone for the whole file, else (number, offset, length). See `resolve`."""

    parts: tuple[int | tuple[int, int], ...]
    bases: tuple[int | tuple[int, int, int], ...]
    body: int


class End(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """How many frames came before, and bytes of all their bodies: a stream without it was cut off."""

    frames: int
    bodies: int


Frame = ManifestFrame | ObjectsFrame | PackedFrame


@dataclass(frozen=True, slots=True)
class Body:
    """The next bytes of the current frame's body; `last`: they complete it."""

    data: memoryview
    last: bool


Event = Frame | Body | End

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Frame | End] = msgspec.msgpack.Decoder(Frame | End)


def encode_frames(frames: Iterable[tuple[Frame, bytes]]) -> Iterator[bytes]:
    """The stream of these frames and their bodies, in pieces of at most a frame."""
    yield MAGIC
    count = bodies = 0
    for frame, body in frames:
        check_frame(frame)
        assert frame.body == len(body)
        yield _encode(frame) + body
        count += 1
        bodies += len(body)
    yield _encode(End(count, bodies))


def resolve(frame: PackedFrame, new: Sequence[FileEntry], old: Sequence[FileEntry]) -> ObjectsFrame:
    """The frame with digests, out of both manifests' entries for the robot's platform. Raises `BadStream` for numbers of none."""
    try:
        parts = tuple(
            Part(_raw(new[part]), new[part].size, new[part].size)
            if isinstance(part, int)
            else Part(_raw(new[part[0]]), new[part[0]].size, part[1])
            for part in frame.parts
        )
        bases = tuple(
            Base(_raw(old[base]), 0, old[base].size)
            if isinstance(base, int)
            else Base(_raw(old[base[0]]), base[1], base[2])
            for base in frame.bases
        )
    except (IndexError, OverflowError, ValueError) as error:
        raise BadStream("it names an entry that the manifest does not have") from error
    resolved = ObjectsFrame(parts, bases, frame.body)
    check_frame(resolved)
    return resolved


def _raw(entry: FileEntry) -> bytes:
    return bytes.fromhex(entry.digest)


def plain_size(frame: ManifestFrame | ObjectsFrame) -> int:
    """Bytes that the frame's body unpacks to."""
    return frame.size if isinstance(frame, ManifestFrame) else sum(part.length for part in frame.parts)


def check_frame(frame: Frame) -> None:
    """Raise `BadStream` unless a receiver can unpack such a frame within its bounds. A `PackedFrame` says too little to tell: it is
    checked again when it was resolved."""
    if isinstance(frame, PackedFrame):
        if frame.body < 0 or min(map(_number, (*frame.parts, *frame.bases)), default=0) < 0:
            raise BadStream("a number is negative")
        return
    if frame.body < 0 or frame.body > plain_size(frame) + (plain_size(frame) >> 7) + 1024:
        raise BadStream(f"a body of {frame.body} bytes is larger than what it holds")
    if isinstance(frame, ManifestFrame):
        if not 0 < frame.size <= MAX_MANIFEST:
            raise BadStream(f"a manifest of {frame.size} bytes")
        if len(frame.digest) != 32 or (frame.base is not None and len(frame.base) != 32):
            raise BadStream("a digest does not have 32 bytes")
        return
    if not 0 < len(frame.parts) <= MAX_PARTS or len(frame.bases) > MAX_PARTS:
        raise BadStream(f"a frame has {len(frame.parts)} parts and {len(frame.bases)} bases")
    if any(
        len(digest) != 32 for digest in (*(part.digest for part in frame.parts), *(base.digest for base in frame.bases))
    ):
        raise BadStream("a digest does not have 32 bytes")
    if any(not 0 < part.length <= part.size <= MAX_FILE for part in frame.parts):
        raise BadStream("a part has an impossible size")
    if any(base.offset < 0 or base.length <= 0 or base.offset + base.length > MAX_FILE for base in frame.bases):
        raise BadStream("a base has an impossible range")
    if (len(frame.parts) > 1 or frame.bases) and plain_size(frame) > MAX_SEGMENT:
        raise BadStream(f"a frame holds {plain_size(frame)} bytes, {MAX_SEGMENT} are allowed")
    if sum(base.length for base in frame.bases) > MAX_BASES:
        raise BadStream(f"a frame has more than {MAX_BASES} bytes of bases")


class FrameReader:
    """Takes a stream apart as it arrives, holding no more of it than one header."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = len(MAGIC)
        self._in_header = False
        self._magic_read = False
        self._body = 0  # bytes of the current body still to come
        self._frames = 0
        self._bodies = 0
        self.ended = False

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete, in order. Raises `BadStream`; the reader is of no use after that."""
        events: list[Event] = []
        view = memoryview(data)
        while view:
            if self.ended:
                raise BadStream("there are bytes after its end")
            if self._body:
                piece, view = view[: self._body], view[self._body :]
                self._body -= len(piece)
                events.append(Body(piece, last=self._body == 0))
                continue
            missing = self._wanted - len(self._buffer)
            self._buffer += view[:missing]
            view = view[missing:]
            if len(self._buffer) == self._wanted:
                self._complete(bytes(self._buffer), events)
        return events

    def finish(self) -> None:
        """Raise `BadStream` unless the stream came to its end."""
        if not self.ended:
            raise BadStream("it was cut off")

    def _complete(self, read: bytes, events: list[Event]) -> None:
        self._buffer.clear()
        if not self._magic_read:
            if read != MAGIC:
                raise BadStream("it does not begin like one")
            self._magic_read = True
            self._wanted = 4
        elif not self._in_header:
            self._wanted = int.from_bytes(read, "big")
            if not 0 < self._wanted <= MAX_HEADER:
                raise BadStream(f"a header of {self._wanted} bytes")
            self._in_header = True
        else:
            self._wanted = 4
            self._in_header = False
            events.append(self._header(read))
            if self._body == 0 and not self.ended:
                events.append(Body(memoryview(b""), last=True))

    def _header(self, raw: bytes) -> Event:
        try:
            header = _DECODER.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadStream(f"a header cannot be read ({error})") from error
        if isinstance(header, End):
            if (header.frames, header.bodies) != (self._frames, self._bodies):
                raise BadStream(f"it says {header.frames} frames with {header.bodies} bytes, not what came before")
            self.ended = True
            return header
        check_frame(header)
        self._frames += 1
        self._bodies += header.body
        self._body = header.body
        return header


def _number(item: int | tuple[int, ...]) -> int:
    return item if isinstance(item, int) else min(item)


def _encode(header: Frame | End) -> bytes:
    raw = _ENCODER.encode(header)
    if len(raw) > MAX_HEADER:
        raise ValueError(f"header of {len(raw)} bytes")
    return len(raw).to_bytes(4, "big") + raw
