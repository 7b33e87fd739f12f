"""Brings the content of a release into the object store: only what is not there yet, compressed, durably."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import zstandard

from lekiwi_deploy.content.compression import compress_object, decompress_object
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest, read_manifest
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.engines.objects import ObjectStore, manifest_key, object_key
from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, Manifest

BATCH_BYTES = 32 << 20
"""Plain bytes that are compressed and stored together."""
STREAM_BYTES = 64 << 20
"""Files above this are compressed through a temporary file instead of memory."""

Read = Callable[[ObjectDigest], bytes]


async def publish_objects(
    objects: ObjectStore,
    entries: Iterable[FileEntry],
    read: Read,
    paths: Mapping[ObjectDigest, Path],
    known: frozenset[ObjectDigest],
) -> int:
    """Stores the content of `entries` that the store lacks; how many objects that were.

    `read` gives an object's verified bytes, `paths` where large ones are as files; `known`: what is certainly there.
    """
    wanted = {entry.digest: entry for entry in entries if entry.digest not in known}
    keys = {object_key(digest): entry for digest, entry in wanted.items()}
    missing = sorted(await objects.missing(keys)) if keys else []
    small = [keys[key] for key in missing if keys[key].size <= STREAM_BYTES or keys[key].digest not in paths]
    for batch in _batches(small):
        await objects.put_many(await asyncio.to_thread(_compressed, batch, read))
    for key in missing:
        entry = keys[key]
        if entry not in small:
            await _stream(objects, key, paths[entry.digest])
    return len(missing)


async def publish_manifest(objects: ObjectStore, manifest: Manifest) -> tuple[ManifestDigest, int]:
    """Stores the manifest; its digest and size in bytes. Its objects must be there already."""
    stored = encode_manifest(manifest)
    digest = manifest_digest(stored)
    read_manifest(stored, digest=digest)  # what no robot could lay out is refused here
    key = manifest_key(digest)
    if not await objects.exists(key):
        await objects.put(key, await asyncio.to_thread(compress_object, stored))
    return digest, len(stored)


async def digests_of(objects: ObjectStore, digest: ManifestDigest) -> frozenset[ObjectDigest]:
    """The objects of a stored manifest; none when it cannot be read, since this only saves work."""
    try:
        stored = await objects.get(manifest_key(digest))
        plain = await asyncio.to_thread(_unpacked, stored)
        manifest = await asyncio.to_thread(read_manifest, plain, digest=digest)
    except (LekiwiError, zstandard.ZstdError):
        return frozenset()
    trees = (manifest.files, *(tree.files for tree in manifest.platforms.values()))
    return frozenset(entry.digest for files in trees for entry in files)


async def fetch_object(objects: ObjectStore, digest: ObjectDigest) -> bytes:
    """The plain content of a stored object, verified."""
    stored = await objects.get(object_key(digest))
    return await asyncio.to_thread(decompress_object, stored, digest)


def _unpacked(stored: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(stored, max_output_size=64 << 20)


def _batches(entries: Iterable[FileEntry]) -> Iterator[list[FileEntry]]:
    batch: list[FileEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _compressed(entries: list[FileEntry], read: Read) -> list[tuple[str, bytes]]:
    return [(object_key(entry.digest), compress_object(read(entry.digest))) for entry in entries]


async def _stream(objects: ObjectStore, key: str, path: Path) -> None:
    def compress(target: Path) -> None:
        with path.open("rb") as source, target.open("wb") as sink:
            zstandard.ZstdCompressor(level=3).copy_stream(source, sink, size=path.stat().st_size)

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "object")
        await asyncio.to_thread(compress, target)
        await objects.put_file(key, target)
