"""Applying a pack on a robot: bytes as they arrive → verified objects and the new manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import zstandard

from lekiwi_deploy.content.compression import Overflow, Sink, unpacker
from lekiwi_deploy.content.manifests import entries_for, manifest_digest, old_entries, read_manifest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.receive import ObjectReceiver
from lekiwi_deploy.content.stream import (
    BadStream,
    Body,
    Event,
    FrameReader,
    ManifestFrame,
    ObjectsFrame,
    PackedFrame,
    resolve,
)
from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.wire.ids import ManifestDigest
from lekiwi_deploy.wire.manifest import FileEntry, Manifest


class WrongBase(Conflict):
    """The pack starts from a manifest that is not the one here: ask for a whole one instead."""


@dataclass(frozen=True, slots=True)
class Applied:
    """`stored_manifest`: its bytes, whose digest is right; `objects`: how many came. `failed`: entries whose objects the pack could
    not bring (a damaged or missing base), to be asked for whole. Everything else is in the object folder, durably."""

    manifest: Manifest
    stored_manifest: bytes
    objects: int
    failed: tuple[FileEntry, ...]


class PackReader:
    """Takes a pack apart as it arrives.

    `wanted` is the digest of the manifest that was assigned, `old` the stored bytes of the one that the pack was asked to start
    from. To resume after a crash, feed the bytes received so far again: objects that are there are skipped.
    """

    def __init__(
        self, objects: ObjectFolder, wanted: ManifestDigest, platform_key: str | None, old: bytes | None
    ) -> None:
        self._objects = objects
        self._wanted = wanted
        self._platform_key = platform_key
        self._old = old
        self._frames = FrameReader()
        self._manifest_frame: ManifestFrame | None = None
        self._manifest_body = bytearray()
        self._receiver: ObjectReceiver | None = None
        self._entries: tuple[FileEntry, ...] = ()
        self._old_entries: tuple[FileEntry, ...] = ()
        self._stored = b""
        self.manifest: Manifest | None = None
        """Known once its frame is through, which is the first."""

    def feed(self, data: bytes) -> None:
        """The next bytes. Raises `WrongBase`; `BadStream` (throw away what was received, and try again); `BadInput` (`BadEntry`)
        for a manifest that may not be laid out; `NotFound` when it has nothing for this platform; `OSError`."""
        for event in self._frames.feed(data):
            self._take(event)

    def finish(self) -> Applied:
        """The pack is over: make what it brought part of the object folder, durably. Raises `BadStream` when it was cut off."""
        self._frames.finish()
        if self.manifest is None or self._receiver is None:
            raise BadStream("it holds no manifest")
        self._receiver.finish()
        self._objects.commit()
        lost = {*self._receiver.failed, *self._receiver.needed}
        failed = self._objects.missing(entry for entry in self._entries if entry.digest in lost)
        return Applied(self.manifest, self._stored, self._receiver.stored, failed)

    def close(self) -> None:
        """Give up: what came so far is forgotten. May be called twice, and after `finish`."""
        if self._receiver is not None:
            self._receiver.close()
        self._objects.drop_staged()

    def _take(self, event: Event) -> None:
        match event:
            case ManifestFrame():
                self._begin_manifest(event)
            case PackedFrame():
                if self._receiver is None:
                    raise BadStream("objects came before the manifest")
                self._receiver.begin(resolve(event, self._entries, self._old_entries))
            case ObjectsFrame():
                raise BadStream("it names objects by their digests, which is for repair")
            case Body():
                if self._receiver is not None:
                    self._receiver.body(event)
                else:
                    self._manifest_bytes(event)
            case _:
                pass

    def _begin_manifest(self, frame: ManifestFrame) -> None:
        if self._manifest_frame is not None:
            raise BadStream("it holds two manifests")
        if frame.digest.hex() != self._wanted:
            raise BadStream("it leads to another manifest than the one asked for")
        base = frame.base.hex() if frame.base is not None else None
        if base is not None and (self._old is None or manifest_digest(self._old) != base):
            raise WrongBase(
                f"the pack starts from manifest {base[:12]}…, which is not the one that it was asked to start from"
            )
        self._manifest_frame = frame

    def _manifest_bytes(self, body: Body) -> None:
        frame = self._manifest_frame
        assert frame is not None
        self._manifest_body += body.data
        if not body.last:
            return
        out = bytearray()
        try:
            unpacker(Sink(out.extend, frame.size), base=(self._old or b"") if frame.base else b"").write(
                self._manifest_body
            )
        except (zstandard.ZstdError, Overflow) as error:
            raise BadStream(f"the manifest cannot be unpacked ({error})") from error
        self._manifest_body = bytearray()
        self._stored = bytes(out)
        if manifest_digest(self._stored) != self._wanted:
            raise BadStream("the manifest is not what its digest says")
        self.manifest = read_manifest(self._stored)
        self._entries = entries_for(self.manifest, self._platform_key)
        sizes = {entry.digest: entry.size for entry in self._entries}
        self._old_entries = old_entries(self._old if frame.base else None, self._platform_key)
        missing = self._objects.derive(self._objects.missing(self._entries))
        self._receiver = ObjectReceiver(self._objects, sizes, missing)


def apply_pack(
    chunks: Iterable[bytes],
    objects: ObjectFolder,
    wanted: ManifestDigest,
    platform_key: str | None,
    old: bytes | None,
) -> Applied:
    """Apply a whole pack, see `PackReader` for arguments and errors. Nothing is staged any more when it raises."""
    reader = PackReader(objects, wanted, platform_key, old)
    try:
        for chunk in chunks:
            reader.feed(chunk)
        return reader.finish()
    finally:
        reader.close()
