"""Making a pack: one stream that brings a robot from one manifest to another, as small as we can make it quickly.

First the manifest, patched against the old one. Then every object that the old manifest does not have: small ones in groups
that share one dictionary (the old files that they are most like), large ones each by itself, as a patch in segments or
whole, whichever is smaller. Same manifests, same objects and same zstd give the same bytes, so that a download can resume.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lekiwi_deploy.content.bases import choose_bases
from lekiwi_deploy.content.compression import compress_object, pack_bytes
from lekiwi_deploy.content.manifests import entries_for, manifest_digest, read_manifest
from lekiwi_deploy.content.stream import MAX_SEGMENT, Base, Frame, ManifestFrame, ObjectsFrame, Part, encode_frames
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry

SMALL = 256 << 10
"""Bytes up to which an object shares a frame with others."""
_GROUP = 1 << 20
"""Plain bytes of a group."""
_GROUP_BASES = 2 << 20
_GROUP_PARTS = 256
_MARGIN = 4 << 20
"""How far content of a large file may have moved from where its size tells to look for it."""
_PATCHABLE = 512 << 20
"""Bytes above which a file is sent whole: making the patch would take both versions in memory."""

ReadObject = Callable[[ObjectDigest], bytes]


def make_pack(
    old: bytes | None,
    new: bytes,
    platform_key: str | None,
    read_object: ReadObject,
    read_stored: ReadObject | None = None,
) -> Iterator[bytes]:
    """The pack from `old` to `new` (manifests' stored bytes; no old one: everything) for a robot of this platform.

    `read_object` gives an object's plain content. `read_stored`, where there is one, gives it as `compress_object` made it, so
    that what goes out whole need not be compressed again. Raises what they raise, `BadInput` for a manifest that is none,
    `NotFound` when the new one has nothing for the platform.
    """
    target = entries_for(read_manifest(new), platform_key)
    return encode_frames(_frames(old, new, target, _old_entries(old, platform_key), read_object, read_stored))


def pack_objects(digests: tuple[ObjectDigest, ...], read_object: ReadObject) -> Iterator[bytes]:
    """A stream of these objects, whole, each in its own frame: uploads, and repair of what a pack could not bring."""

    def frames() -> Iterator[tuple[Frame, bytes]]:
        for digest in dict.fromkeys(digests):
            data = read_object(digest)
            if data:
                yield _whole(digest, len(data), compress_object(data))

    return encode_frames(frames())


def _old_entries(old: bytes | None, platform_key: str | None) -> tuple[FileEntry, ...]:
    if old is None:
        return ()
    try:
        return entries_for(read_manifest(old), platform_key)
    except NotFound:  # it was built for other platforms only: the robot has none of it
        return ()


def _frames(
    old: bytes | None,
    new: bytes,
    target: tuple[FileEntry, ...],
    had: tuple[FileEntry, ...],
    read_object: ReadObject,
    read_stored: ReadObject | None,
) -> Iterator[tuple[Frame, bytes]]:
    body = pack_bytes(new, base=old or b"")
    digest = bytes.fromhex(manifest_digest(new))
    yield (
        ManifestFrame(digest, len(new), bytes.fromhex(manifest_digest(old)) if old is not None else None, len(body)),
        body,
    )
    present = {entry.digest for entry in had}
    needed: dict[ObjectDigest, FileEntry] = {}
    for entry in target:
        if entry.digest not in present and entry.size:
            needed.setdefault(entry.digest, entry)
    bases = choose_bases(needed.values(), had)
    group = _Group(read_object)
    large: list[FileEntry] = []
    for entry in needed.values():
        if entry.size > SMALL:
            large.append(entry)
            continue
        if group.is_full(entry, bases.get(entry.path)):
            yield group.frame()
            group = _Group(read_object)
        group.add(entry, bases.get(entry.path))
    if group.parts:
        yield group.frame()
    for entry in large:
        yield from _large(entry, bases.get(entry.path), read_object, read_stored)


class _Group:
    """Small objects that go into one frame."""

    def __init__(self, read_object: ReadObject) -> None:
        self.parts: list[Part] = []
        self._bases: dict[ObjectDigest, Base] = {}
        self._plain: list[bytes] = []
        self._dictionary: list[bytes] = []
        self._sizes = [0, 0]
        self._read = read_object

    def is_full(self, entry: FileEntry, base: FileEntry | None) -> bool:
        return bool(self.parts) and (
            len(self.parts) == _GROUP_PARTS
            or self._sizes[0] + entry.size > _GROUP
            or (base is not None and self._sizes[1] + min(base.size, _GROUP_BASES) > _GROUP_BASES)
        )

    def add(self, entry: FileEntry, base: FileEntry | None) -> None:
        data = self._read(entry.digest)
        self.parts.append(Part(bytes.fromhex(entry.digest), len(data), len(data)))
        self._plain.append(data)
        self._sizes[0] += len(data)
        if base is not None and base.digest not in self._bases:
            old = self._read(base.digest)[:_GROUP_BASES]
            self._bases[base.digest] = Base(bytes.fromhex(base.digest), 0, len(old))
            self._dictionary.append(old)
            self._sizes[1] += len(old)

    def frame(self) -> tuple[Frame, bytes]:
        body = pack_bytes(b"".join(self._plain), base=b"".join(self._dictionary))
        return ObjectsFrame(tuple(self.parts), tuple(self._bases.values()), len(body)), body


def _large(
    entry: FileEntry, base: FileEntry | None, read_object: ReadObject, read_stored: ReadObject | None
) -> Iterator[tuple[Frame, bytes]]:
    patched: list[tuple[Frame, bytes]] = []
    if base is not None and max(entry.size, base.size) <= _PATCHABLE:
        new, old = read_object(entry.digest), read_object(base.digest)
        starts = range(0, len(new), MAX_SEGMENT)
        with ThreadPoolExecutor(
            min(4, os.cpu_count() or 1, len(starts))
        ) as pool:  # zstd works without the interpreter's lock
            patched = list(pool.map(lambda start: _segment(entry, base, new, old, start), starts))
        stored = read_stored(entry.digest) if read_stored is not None else pack_bytes(new)
    else:
        stored = read_stored(entry.digest) if read_stored is not None else pack_bytes(read_object(entry.digest))
    if patched and sum(len(body) for _, body in patched) < len(stored):
        yield from patched
    else:
        yield _whole(entry.digest, entry.size, stored)


def _segment(entry: FileEntry, base: FileEntry, new: bytes, old: bytes, start: int) -> tuple[Frame, bytes]:
    data = new[start : start + MAX_SEGMENT]
    first, last = base_range(start, len(data), len(new), len(old))
    body = pack_bytes(data, base=old[first:last])
    part = Part(bytes.fromhex(entry.digest), len(new), len(data))
    bases = (Base(bytes.fromhex(base.digest), first, last - first),) if last > first else ()
    return ObjectsFrame((part,), bases, len(body)), body


def base_range(start: int, length: int, new_size: int, old_size: int) -> tuple[int, int]:
    """Where in an old file of `old_size` to look for what stands at `start` in the new one: between "nothing moved" and "moved by
    the whole difference in size", and a margin on both sides. At most 20 MiB."""
    moved = old_size - new_size
    if abs(moved) > _MARGIN:
        start = start * old_size // new_size
        moved = 0
    first = max(0, start + min(moved, 0) - _MARGIN)
    last = min(old_size, start + length + max(moved, 0) + _MARGIN)
    return min(first, old_size), last


def _whole(digest: ObjectDigest, size: int, stored: bytes) -> tuple[Frame, bytes]:
    return ObjectsFrame((Part(bytes.fromhex(digest), size, size),), (), len(stored)), stored
