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
from lekiwi_deploy.content.compression import compress_object, level_for, pack_bytes
from lekiwi_deploy.content.grouping import GROUP_BASES, SMALL, Group, plan_groups
from lekiwi_deploy.content.manifests import entries_for, manifest_digest, old_entries, read_manifest
from lekiwi_deploy.content.stream import (
    MAX_SEGMENT,
    Base,
    Frame,
    ManifestFrame,
    ObjectsFrame,
    PackedFrame,
    Part,
    encode_frames,
)
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry

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
    return encode_frames(_frames(old, new, target, old_entries(old, platform_key), read_object, read_stored))


def pack_objects(digests: tuple[ObjectDigest, ...], read_object: ReadObject) -> Iterator[bytes]:
    """A stream of these objects, whole, each in its own frame: uploads, and repair of what a pack could not bring."""

    def frames() -> Iterator[tuple[Frame, bytes]]:
        for digest in dict.fromkeys(digests):
            data = read_object(digest)
            if data:
                yield _whole(digest, len(data), compress_object(data))

    return encode_frames(frames())


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
    numbers = _Numbers(target, had)
    small = [entry for entry in needed.values() if entry.size <= SMALL]
    level = level_for(sum(entry.size for entry in small))
    for group in plan_groups(small, bases, had):
        yield numbers.packed(*_group(group, level, read_object))
    for entry in needed.values():
        if entry.size > SMALL:
            for frame, body in _large(entry, bases.get(entry.path), read_object, read_stored):
                yield numbers.packed(frame, body)


class _Numbers:
    """Says frames in numbers of entries, which are shorter than digests."""

    def __init__(self, new: tuple[FileEntry, ...], old: tuple[FileEntry, ...]) -> None:
        self._new = {bytes.fromhex(entry.digest): number for number, entry in reversed(list(enumerate(new)))}
        self._old = {bytes.fromhex(entry.digest): number for number, entry in reversed(list(enumerate(old)))}
        self._sizes = [entry.size for entry in old]

    def packed(self, frame: ObjectsFrame, body: bytes) -> tuple[Frame, bytes]:
        parts = tuple(
            self._new[part.digest] if part.length == part.size else (self._new[part.digest], part.length)
            for part in frame.parts
        )
        return PackedFrame(parts, tuple(map(self._base, frame.bases)), frame.body), body

    def _base(self, base: Base) -> int | tuple[int, int, int]:
        number = self._old[base.digest]
        return number if (base.offset, base.length) == (0, self._sizes[number]) else (number, base.offset, base.length)


def _group(group: Group, level: int, read_object: ReadObject) -> tuple[ObjectsFrame, bytes]:
    plain = [read_object(entry.digest) for entry in group.parts]
    dictionary = [read_object(entry.digest)[:GROUP_BASES] for entry in group.bases]
    body = pack_bytes(b"".join(plain), base=b"".join(dictionary), level=level)
    parts = tuple(
        Part(bytes.fromhex(entry.digest), len(data), len(data)) for entry, data in zip(group.parts, plain, strict=True)
    )
    bases = tuple(
        Base(bytes.fromhex(entry.digest), 0, len(data)) for entry, data in zip(group.bases, dictionary, strict=True)
    )
    return ObjectsFrame(parts, bases, len(body)), body


def _large(
    entry: FileEntry, base: FileEntry | None, read_object: ReadObject, read_stored: ReadObject | None
) -> Iterator[tuple[ObjectsFrame, bytes]]:
    patched: list[tuple[ObjectsFrame, bytes]] = []
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


def _segment(entry: FileEntry, base: FileEntry, new: bytes, old: bytes, start: int) -> tuple[ObjectsFrame, bytes]:
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


def _whole(digest: ObjectDigest, size: int, stored: bytes) -> tuple[ObjectsFrame, bytes]:
    return ObjectsFrame((Part(bytes.fromhex(digest), size, size),), (), len(stored)), stored
