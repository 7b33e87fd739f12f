"""The object store as its users see it; `folder.py` and `buckets.py` implement it, `open_store` chooses.

Keys are relative paths of a-z, 0-9, `.`, `_`, `-` and `/`, as in ARCHITECTURE.md. An object is immutable: putting it again under
the same key with the same meaning is harmless. After `put` returned, the object survives a power cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Protocol

from lekiwi_deploy.wire.ids import ManifestDigest, ObjectDigest


class ObjectStore(Protocol):
    """Where content lives. Every method may raise `Unavailable` when the store cannot be reached."""

    async def get(self, key: str) -> bytes:
        """The whole object. Raises `NotFound`."""

    def get_blocking(self, key: str) -> bytes:
        """As `get`, for code that runs in a thread: blocks. Never call it in the event loop."""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer at the object's end. Raises `NotFound`."""

    async def size(self, key: str) -> int:
        """In bytes. Raises `NotFound`."""

    async def put(self, key: str, data: bytes) -> None:
        """Stores `data` under `key`, durably, replacing nothing that a reader could see half of."""

    async def put_many(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Like `put` for each, but made durable together: much cheaper for many small objects."""

    async def put_file(self, key: str, path: Path) -> None:
        """Stores the content of the file at `path` (left where it is) without reading all of it into memory."""

    async def exists(self, key: str) -> bool:
        """Whether there is an object under `key`."""

    async def missing(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that are not there."""

    async def delete(self, key: str) -> None:
        """Removes the object if there is one."""

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Keys that start with `prefix`, in no order."""


def object_key(digest: ObjectDigest) -> str:
    """Where a file's content is (zstd-compressed; `digest` is the BLAKE3 of the plain content)."""
    return f"objects/{digest[:2]}/{digest[2:]}"


def manifest_key(digest: ManifestDigest) -> str:
    """Where a manifest's stored bytes are (zstd-compressed; `digest` is the SHA-256 of the plain bytes)."""
    return f"manifests/{digest}"


def pack_key(from_digest: ManifestDigest | None, to_digest: ManifestDigest, platform: str) -> str:
    """Where the pack is that brings a robot of `platform` (a `Platform.key`) from one manifest to another."""
    return f"packs/{from_digest or '0'}-{to_digest}-{platform}"
