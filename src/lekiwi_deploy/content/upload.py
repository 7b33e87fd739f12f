"""Whole objects out of a stream, as the server takes them in: verified, and left as they were packed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import zstandard
from blake3 import blake3

from lekiwi_deploy.content.compression import Overflow, Sink, unpacker
from lekiwi_deploy.content.objects import CorruptObject
from lekiwi_deploy.content.stream import BadStream, Body, FrameReader, ManifestFrame, ObjectsFrame, PackedFrame
from lekiwi_deploy.errors import TooLarge
from lekiwi_deploy.wire.ids import ObjectDigest

MAX_OBJECT = 1 << 30
"""Bytes of one object as packed: it is held in memory."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A verified object. `stored`: its content in the form of `compress_object`; `size`: plain bytes."""

    digest: ObjectDigest
    size: int
    stored: bytes


class UploadReader:
    """Takes an upload apart as it arrives, holding one object at a time."""

    def __init__(self, wanted: Collection[ObjectDigest]) -> None:
        self._wanted = set(wanted)
        self._frames = FrameReader()
        self._frame: ObjectsFrame | None = None
        self._stored = bytearray()
        self._hasher = blake3()
        self._sink = Sink(self._hasher.update, 0)
        self._unpack: zstandard.ZstdDecompressionWriter | None = None

    @property
    def missing(self) -> frozenset[ObjectDigest]:
        """What was wanted and did not come yet."""
        return frozenset(self._wanted)

    def feed(self, data: bytes) -> list[Uploaded]:
        """The objects that these bytes complete. An object that is not wanted is skipped (a repeated upload).

        Raises `BadStream`, `CorruptObject`, `TooLarge`.
        """
        done: list[Uploaded] = []
        for event in self._frames.feed(data):
            match event:
                case ObjectsFrame():
                    self._begin(event)
                case Body():
                    self._body(event, done)
                case ManifestFrame() | PackedFrame():
                    raise BadStream("an upload holds no part of a pack")
                case _:
                    pass
        return done

    def finish(self) -> None:
        """Raise `BadStream` unless the stream came to its end. `missing` may still not be empty."""
        self._frames.finish()

    def _begin(self, frame: ObjectsFrame) -> None:
        if len(frame.parts) != 1 or frame.bases or frame.parts[0].length != frame.parts[0].size:
            raise BadStream("an upload holds whole objects only")
        if frame.body > MAX_OBJECT:
            raise TooLarge(
                f"object {frame.parts[0].digest.hex()[:12]}… has {frame.body} bytes, {MAX_OBJECT} are allowed"
            )
        self._frame = frame
        self._stored = bytearray()
        self._hasher = blake3()
        self._sink = Sink(self._hasher.update, frame.parts[0].size)
        self._unpack = unpacker(self._sink) if frame.parts[0].digest.hex() in self._wanted else None

    def _body(self, body: Body, done: list[Uploaded]) -> None:
        assert self._frame is not None
        if self._unpack is None:
            return
        part = self._frame.parts[0]
        digest = ObjectDigest(part.digest.hex())
        self._stored += body.data
        try:
            self._unpack.write(body.data)
        except (zstandard.ZstdError, Overflow) as error:
            raise CorruptObject(digest, f"cannot be unpacked ({error})") from error
        if not body.last:
            return
        if self._sink.left or self._hasher.hexdigest() != digest:
            raise CorruptObject(digest, "does not have the content that its digest says")
        if zstandard.frame_content_size(self._stored) != part.size:
            raise CorruptObject(digest, "does not say its size")
        done.append(Uploaded(digest, part.size, bytes(self._stored)))
        self._wanted.discard(digest)
        self._unpack = None
        self._stored = bytearray()
