"""Packing bytes and unpacking them within bounds."""

from __future__ import annotations

import contextlib

import pytest
import zstandard
from content_samples import text
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content.compression import (
    Overflow,
    Sink,
    compress_object,
    decompress_object,
    level_for,
    pack_bytes,
    unpacker,
)
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.objects import CorruptObject
from lekiwi_deploy.content.stream import MAX_WINDOW


def unpacked(packed: bytes, base: bytes = b"", limit: int = 1 << 30) -> bytes:
    out = bytearray()
    unpacker(Sink(out.extend, limit), base=base).write(packed)
    return bytes(out)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_bytes_come_back(data: bytes, base: bytes) -> None:
    packed = pack_bytes(data, base=base)
    assert unpacked(packed, base) == data
    assert pack_bytes(data, base=base) == packed


def test_a_small_change_costs_few_bytes_wherever_it_is() -> None:
    old = text(40_000)
    new = old[:300_000] + b"inserted" + old[300_000:]
    assert len(pack_bytes(new, base=old)) < 2000
    assert len(pack_bytes(new)) > 100_000


def test_the_whole_base_is_used_although_it_is_larger_than_the_data() -> None:
    old = text(200_000)
    for start in (0, len(old) // 2, len(old) - 100_000):
        assert len(pack_bytes(old[start : start + 100_000], base=old)) < 200


def test_large_data_needs_no_larger_window_than_a_robot_allows() -> None:
    data = text(60_000) * 12
    assert len(data) > MAX_WINDOW
    packed = pack_bytes(data, level=3)
    assert zstandard.get_frame_parameters(packed).window_size <= MAX_WINDOW
    assert unpacked(packed) == data


def test_small_things_are_packed_harder() -> None:
    assert level_for(1000) > level_for(1 << 20) > level_for(10 << 20) > level_for(1 << 30)


@pytest.mark.parametrize("data", [b"", b"x", text(1000)])
def test_an_object_comes_back_from_the_store(data: bytes) -> None:
    assert decompress_object(compress_object(data), object_digest(data)) == data


def test_damage_in_the_store_is_noticed() -> None:
    data = text(1000)
    stored, digest = compress_object(data), object_digest(data)
    flipped = stored[:500] + bytes([stored[500] ^ 1]) + stored[501:]
    for damaged in (b"", b"nonsense", stored[:-1], stored[:3], flipped, compress_object(b"other")):
        with pytest.raises(CorruptObject, match=digest[:12]):
            decompress_object(damaged, digest)


def test_a_bomb_is_stopped_at_what_was_announced() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 << 20))
    assert len(bomb) < 10_000
    seen: list[int] = []
    with pytest.raises(Overflow):
        unpacker(Sink(lambda data: seen.append(len(data)), 1000)).write(bomb)
    assert sum(seen) <= 1000


def test_a_window_larger_than_allowed_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packed = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(text(200_000))
    with pytest.raises(zstandard.ZstdError, match="memory"):
        unpacked(packed)


def test_another_base_gives_other_bytes_not_a_crash() -> None:
    old = text(1000)
    packed = pack_bytes(old + b"x", base=old)
    for base in (b"", old[:-10], text(1000, seed=1)):
        with contextlib.suppress(zstandard.ZstdError):
            assert unpacked(packed, base) != old + b"x"
