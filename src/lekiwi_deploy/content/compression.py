"""zstd as used here: levels by size, other bytes as dictionary, and unpacking that never takes more than was announced."""

from __future__ import annotations

from collections.abc import Callable

import zstandard

from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.objects import CorruptObject
from lekiwi_deploy.content.stream import MAX_WINDOW
from lekiwi_deploy.wire.ids import ObjectDigest

_LEVELS = ((512 << 10, 19), (1 << 20, 16), (4 << 20, 12), (64 << 20, 9))
"""Up to so many plain bytes: this level. What is small is packed hard, what is large fast."""
_LEVEL_HUGE = 5
_MAX_HASH_LOG = 23
"""32 MiB of table: 24 takes a quarter longer and saves 1.5 % on a new build of a 66 MB library."""


def level_for(size: int) -> int:
    """The level for `size` plain bytes that are packed once and sent to many."""
    for limit, level in _LEVELS:
        if size <= limit:
            return level
    return _LEVEL_HUGE


def pack_bytes(data: bytes, *, base: bytes = b"", level: int | None = None) -> bytes:
    """`data` as one zstd frame, which `unpacker` with the same `base` unpacks. Deterministic for one version of zstd."""
    level = level_for(max(len(data), len(base) // 2)) if level is None else level
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(data),
        dict_size=len(base),
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
        **_tables(len(data), len(base), level),
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(data)


def compress_object(data: bytes) -> bytes:
    """An object as the server's store keeps it and as it may be sent, unchanged."""
    return pack_bytes(data, level=9 if len(data) <= 1 << 20 else 3)


def decompress_object(stored: bytes, digest: ObjectDigest) -> bytes:
    """The object out of what `compress_object` made. Raises `CorruptObject` unless it has the digest."""
    out = bytearray()
    try:
        size = zstandard.frame_content_size(stored)
        sink = Sink(out.extend, size)
        unpacker(sink).write(stored)
    except (zstandard.ZstdError, Overflow) as error:
        raise CorruptObject(digest, f"cannot be unpacked ({error})") from error
    data = bytes(out)
    if object_digest(data) != digest:
        raise CorruptObject(digest, "does not have the content that its digest says")
    return data


class Overflow(Exception):
    """More bytes came out than were announced."""


class Sink:
    """Where unpacked bytes go: `write(data)` is called with pieces of at most 128 KiB, `limit` bytes in all."""

    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self._write = write
        self.left = limit

    def write(self, data: bytes) -> int:
        """Called by zstd."""
        self.left -= len(data)
        if self.left < 0:
            raise Overflow("it unpacks to more than it should")
        self._write(data)
        return len(data)


def unpacker(sink: Sink, *, base: bytes = b"") -> zstandard.ZstdDecompressionWriter:
    """Takes compressed bytes by `write` and passes them on unpacked. It raises `zstandard.ZstdError` for damage."""
    decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(base), max_window_size=MAX_WINDOW)
    return decompressor.stream_writer(sink, closefd=False)  # type: ignore[arg-type]  # it only needs `write`


def _dictionary(base: bytes) -> zstandard.ZstdCompressionDict | None:
    return zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if base else None


def _tables(size: int, base: int, level: int) -> dict[str, int]:
    """What zstd's own choice of parameters has to be corrected by."""
    if size > MAX_WINDOW:
        return {"window_log": MAX_WINDOW.bit_length() - 1}
    if not base:
        return {}
    # It sizes its tables for the data alone, forgetting most of a base that is larger, and lets go of the whole base once the
    # data is longer than the window.
    usual = zstandard.ZstdCompressionParameters.from_level(level, source_size=size, dict_size=base)
    every = (size + base).bit_length()
    tables = {
        "window_log": max(usual.window_log, (size - 1).bit_length()),
        "hash_log": max(usual.hash_log, min(every, _MAX_HASH_LOG)),
    }
    if usual.strategy >= zstandard.STRATEGY_BTLAZY2:
        tables["chain_log"] = max(usual.chain_log, every)
    return tables
