"""Digests of files that were hashed before, so that an unchanged tree costs a stat per file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lekiwi_deploy.wire.ids import ObjectDigest

_SETTLED_NS = 2_000_000_000
"""A file changed later than this before it was hashed may change again within the same time stamp: not remembered."""


class _Known(msgspec.Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    inode: int
    digest: ObjectDigest


class HashCache:
    """Digests by path, valid while size, modification time and inode stay as they were.

    Only ever a hint to save work: a cache file that cannot be read counts as empty.
    """

    def __init__(self, known: dict[str, _Known] | None = None) -> None:
        self._known = known or {}
        self._used: dict[str, _Known] = {}

    @classmethod
    def load(cls, path: Path) -> HashCache:
        """The cache kept at `path`, empty when there is none or it is damaged."""
        try:
            return cls(msgspec.msgpack.decode(path.read_bytes(), type=dict[str, _Known]))
        except (OSError, msgspec.MsgspecError):
            return cls()

    def save(self, path: Path) -> None:
        """Keep what was looked up or added since `load`; files that are gone are forgotten."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(msgspec.msgpack.encode(self._used))
        temporary.replace(path)

    def get(self, path: str, stat: os.stat_result) -> ObjectDigest | None:
        """The digest of the file that was at `path` with this stat, if remembered."""
        known = self._known.get(path)
        if known is None or (known.size, known.mtime_ns, known.inode) != (stat.st_size, stat.st_mtime_ns, stat.st_ino):
            return None
        self._used[path] = known
        return known.digest

    def add(self, path: str, stat: os.stat_result, digest: ObjectDigest, *, now_ns: int) -> None:
        """Remember `digest`, computed at `now_ns` (nanoseconds since 1970) from the file with this stat."""
        if stat.st_mtime_ns + _SETTLED_NS <= now_ns:
            self._used[path] = _Known(stat.st_size, stat.st_mtime_ns, stat.st_ino, digest)
