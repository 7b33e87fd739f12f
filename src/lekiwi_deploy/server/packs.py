"""Packs: made once per pair of manifests and platform, in a thread, however many robots ask at once; kept in the object store."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import zstandard

from lekiwi_deploy.content.compression import decompress_object
from lekiwi_deploy.content.manifests import MAX_MANIFEST
from lekiwi_deploy.content.pack import make_pack
from lekiwi_deploy.errors import LekiwiError, NotFound
from lekiwi_deploy.server.engines.objects import ObjectStore, manifest_key, object_key, pack_key
from lekiwi_deploy.server.store import packs
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest

_log = logging.getLogger("lekiwi.packs")

IN_MEMORY = 4_000_000
"""Bytes up to which a pack is served out of memory."""
SHELF_BYTES = 32_000_000
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Pack:
    """`data` None: it is in the object store under `key`. `size` in bytes."""

    key: str
    size: int
    data: bytes | None


class PackShelf:
    """All packs of this process; one of them belongs to a `Context`."""

    def __init__(self, objects: ObjectStore, database: Database, scratch: Path, now: Callable[[], datetime]) -> None:
        """`scratch`: folder for what is being made."""
        self._objects, self._database, self._scratch, self._now = objects, database, scratch, now
        self._under_way: dict[str, asyncio.Task[Pack]] = {}
        self._shelf: OrderedDict[str, Pack] = OrderedDict()
        self._storing: set[asyncio.Task[None]] = set()

    async def get(self, old: ManifestDigest | None, new: ManifestDigest, platform: str) -> Pack:
        """The pack from `old` (None: nothing) to `new` for robots of `platform` (a `Platform.key`), made if need be.

        Raises `NotFound` when there is no such manifest, or nothing in it for the platform.
        """
        key = pack_key(old, new, platform)
        if key in self._shelf:
            self._shelf.move_to_end(key)
            return self._shelf[key]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._find_or_make(key, old, new, platform))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return await asyncio.shield(task)  # whoever asks may go away; the others still want it

    async def read(self, pack: Pack, start: int, length: int) -> AsyncIterator[bytes]:
        """`length` bytes of a pack from `start`, in pieces."""
        if pack.data is not None:
            yield pack.data[start : start + length]
            return
        while length > 0:
            piece = await self._objects.get_range(pack.key, start, min(PIECE, length))
            if not piece:
                raise NotFound(f"the pack {pack.key} is shorter than it should be")
            yield piece
            start += len(piece)
            length -= len(piece)

    async def _find_or_make(self, key: str, old: ManifestDigest | None, new: ManifestDigest, platform: str) -> Pack:
        async with self._database.transaction() as tx:
            size = await packs.size(tx, key)
        if size is not None:
            try:
                data = await self._objects.get(key) if size <= IN_MEMORY else None
                if data is not None or await self._objects.size(key) == size:
                    return self._shelve(Pack(key, size, data))
            except NotFound:
                _log.warning("the pack %s is not in the object store any more; making it again", key)
        return await self._make(key, old, new, platform)

    async def _make(self, key: str, old: ManifestDigest | None, new: ManifestDigest, platform: str) -> Pack:
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pack-", dir=self._scratch) as folder:
            path = Path(folder) / "pack"
            size = await asyncio.to_thread(self._write, path, old, new, platform)
            if size > IN_MEMORY:
                await self._objects.put_file(key, path)
                await self._record(key, size)
                return self._shelve(Pack(key, size, None))
            data = await asyncio.to_thread(path.read_bytes)
        storing = asyncio.create_task(self._store(key, data))  # robots need not wait for the disk
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)
        return self._shelve(Pack(key, size, data))

    def _write(self, path: Path, old: ManifestDigest | None, new: ManifestDigest, platform: str) -> int:
        """Runs in a thread."""
        had = None if old is None else self._manifest(old)
        with path.open("wb") as file:
            for piece in make_pack(had, self._manifest(new), platform, self._plain, self._stored):
                file.write(piece)
            return file.tell()

    def _manifest(self, digest: ManifestDigest) -> bytes:
        stored = self._objects.get_blocking(manifest_key(digest))
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST)

    def _plain(self, digest: ObjectDigest) -> bytes:
        return decompress_object(self._stored(digest), digest)

    def _stored(self, digest: ObjectDigest) -> bytes:
        return self._objects.get_blocking(object_key(digest))

    async def _store(self, key: str, data: bytes) -> None:
        try:
            await self._objects.put(key, data)
            await self._record(key, len(data))
        except LekiwiError as error:
            _log.warning("the pack %s is served but could not be kept: %s", key, error.message)

    async def _record(self, key: str, size: int) -> None:
        async with self._database.transaction() as tx:
            await packs.record(tx, key, size, self._now())

    def _shelve(self, pack: Pack) -> Pack:
        self._shelf[pack.key] = pack
        while sum(len(kept.data or b"") for kept in self._shelf.values()) > SHELF_BYTES or len(self._shelf) > 1000:
            self._shelf.popitem(last=False)
        return pack
