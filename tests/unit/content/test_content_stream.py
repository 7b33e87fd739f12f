"""The object stream: framing, and what a reader refuses."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content.stream import (
    MAGIC,
    MAX_BASES,
    MAX_HEADER,
    MAX_SEGMENT,
    BadStream,
    Base,
    Body,
    End,
    Event,
    Frame,
    FrameReader,
    ManifestFrame,
    ObjectsFrame,
    PackedFrame,
    Part,
    encode_frames,
    resolve,
)
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

D = b"\x01" * 32
E = b"\x02" * 32


def whole(body: bytes, size: int = 100, digest: bytes = D) -> tuple[Frame, bytes]:
    return ObjectsFrame((Part(digest, size, size),), (), len(body)), body


FRAMES: list[tuple[Frame, bytes]] = [
    (ManifestFrame(D, 1000, E, 9), b"manifest!"),
    whole(b"one"),
    (ObjectsFrame((Part(D, 5, 5), Part(E, 90, 40)), (Base(D, 3, 4),), 4), b"part"),
    (ObjectsFrame((Part(E, 90, 50),), (), 0), b""),
    (PackedFrame((3, (4, 1000)), (0, (1, 20, 300)), 6), b"packed"),
]
STREAM = b"".join(encode_frames(FRAMES))


def read(chunks: Iterable[bytes]) -> list[tuple[Frame, bytes]]:
    reader = FrameReader()
    events: list[Event] = []
    for chunk in chunks:
        events += reader.feed(chunk)
    reader.finish()
    frames: list[tuple[Frame, bytes]] = []
    complete = True
    for event in events:
        match event:
            case Body():
                assert not complete
                frames[-1] = (frames[-1][0], frames[-1][1] + bytes(event.data))
                complete = event.last
            case End():
                assert complete
                assert event.frames == len(frames)
            case _:
                assert complete
                frames.append((event, b""))
                complete = False
    return frames


def raw(header: object, body: bytes = b"") -> bytes:
    encoded = msgspec.msgpack.encode(header)
    return MAGIC + len(encoded).to_bytes(4, "big") + encoded + body


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(places)]
    assert read(chunks) == FRAMES


@given(st.lists(st.tuples(st.binary(max_size=50), st.integers(50, 1000)), max_size=5))
def test_what_was_encoded_comes_out(bodies: list[tuple[bytes, int]]) -> None:
    frames = [whole(body, size) for body, size in bodies]
    assert read([b"".join(encode_frames(frames))]) == frames


def test_an_empty_stream_is_a_stream() -> None:
    assert read([b"".join(encode_frames([]))]) == []


def test_a_stream_that_was_cut_off_anywhere_is_noticed() -> None:
    for length in range(len(STREAM)):
        with pytest.raises(BadStream, match="cut off"):
            read([STREAM[:length]])


@pytest.mark.parametrize("more", [b"\0", STREAM, b"x" * 100])
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(BadStream, match="after its end"):
        read([STREAM, more])


@given(st.integers(0, len(STREAM) * 8 - 1))
def test_a_flipped_bit_is_an_error_or_stays_in_a_body_or_digest(bit: int) -> None:
    damaged = bytearray(STREAM)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        frames = read([bytes(damaged)])
    except BadStream:
        return
    assert len(frames) == len(FRAMES)


@given(st.binary(max_size=200))
def test_noise_is_refused_without_a_traceback(noise: bytes) -> None:
    for stream in (noise, MAGIC + noise, STREAM[:40] + noise):
        with pytest.raises(BadStream):
            read([stream])


@pytest.mark.parametrize("start", [b"", b"LKP", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"<html>"])
def test_something_else_is_not_taken_for_a_stream(start: bytes) -> None:
    with pytest.raises(BadStream):
        read([start])


@pytest.mark.parametrize("size", [0, MAX_HEADER + 1, 2**31, 2**32 - 1])
def test_a_header_that_is_too_long_is_refused_before_it_comes(size: int) -> None:
    with pytest.raises(BadStream, match=f"header of {size} bytes"):
        FrameReader().feed(MAGIC + size.to_bytes(4, "big"))


LIES: list[object] = [
    ObjectsFrame((), (), 0),
    ObjectsFrame((Part(D, 1, 1),), (), -1),
    ObjectsFrame((Part(D, 1, 1),), (), 2**40),
    ObjectsFrame((Part(D, 1, 2),), (), 1),
    ObjectsFrame((Part(D, 1, 0),), (), 1),
    ObjectsFrame((Part(D, -1, -1),), (), 1),
    ObjectsFrame((Part(D, 2**33, 2**33),), (), 1),
    ObjectsFrame((Part(b"short", 1, 1),), (), 1),
    ObjectsFrame((Part(D, 1, 1),), (Base(b"", 0, 1),), 1),
    ObjectsFrame((Part(D, 1, 1),), (Base(D, -1, 1),), 1),
    ObjectsFrame((Part(D, 1, 1),), (Base(D, 0, 0),), 1),
    ObjectsFrame((Part(D, 1, 1),), (Base(D, 2**32, 1),), 1),
    ObjectsFrame((Part(D, 1, 1),), (Base(D, 0, MAX_BASES), Base(E, 0, 1)), 1),
    ObjectsFrame((Part(D, MAX_SEGMENT + 1, MAX_SEGMENT + 1),), (Base(D, 0, 1),), 1),
    ObjectsFrame((Part(D, MAX_SEGMENT, MAX_SEGMENT), Part(E, 1, 1)), (), 1),
    ObjectsFrame((Part(D, 1, 1),) * 513, (), 1),
    ManifestFrame(D, 0, None, 1),
    ManifestFrame(D, 2**31, None, 1),
    ManifestFrame(D, 10, b"short", 1),
    ManifestFrame(b"", 10, None, 1),
    End(1, 0),
    End(0, 1),
    PackedFrame((-1,), (), 1),
    PackedFrame((0,), ((0, -1, 5),), 1),
    PackedFrame((0,), (), -1),
    ["p", [[1]], [], 1],
    ["p", ["00"], [], 1],
    ["x", 1],
    ["o"],
    ["o", [["not bytes", 1, 1]], [], 1],
    {"type": "o"},
    None,
    [[]] * 1000,
]


@pytest.mark.parametrize("header", LIES)
def test_a_header_that_lies_is_refused(header: object) -> None:
    with pytest.raises(BadStream):
        FrameReader().feed(raw(header, b"x"))


def test_nothing_is_written_that_no_reader_would_take() -> None:
    for header in LIES[:19]:
        assert isinstance(header, (ObjectsFrame, ManifestFrame))
        with pytest.raises(BadStream):
            list(encode_frames([(header, b"")]))


def test_the_reader_holds_no_more_than_a_header() -> None:
    reader = FrameReader()
    frame, _ = whole(b"", size=2**32)
    reader.feed(raw(msgspec.structs.replace(frame, body=2**31)))
    for _ in range(100):
        chunk = bytes(1 << 16)
        (event,) = reader.feed(chunk)
        assert isinstance(event, Body)
        assert event.data.obj is chunk
        assert len(reader._buffer) == 0


ENTRIES = [
    FileEntry("a", FileKind.FILE, 100, ObjectDigest("01" * 32)),
    FileEntry("b", FileKind.FILE, 7, ObjectDigest("02" * 32)),
]


def test_numbers_stand_for_the_entries_of_both_manifests() -> None:
    packed = PackedFrame((1, (0, 40)), (0, (1, 2, 3)), 9)
    assert resolve(packed, ENTRIES, ENTRIES[::-1]) == ObjectsFrame(
        (Part(E, 7, 7), Part(D, 100, 40)), (Base(E, 0, 7), Base(D, 2, 3)), 9
    )


@pytest.mark.parametrize(
    "packed",
    [
        PackedFrame((2,), (), 1),
        PackedFrame((2**62,), (), 1),
        PackedFrame((0,), (2,), 1),
        PackedFrame((0,), ((2, 0, 1),), 1),
        PackedFrame(((0, 101),), (), 1),
        PackedFrame(((0, 0),), (), 1),
        PackedFrame((), (), 1),
        PackedFrame((0,), ((0, 0, 2**40),), 1),
        PackedFrame((0,), (), 2**40),
    ],
)
def test_numbers_that_stand_for_nothing_are_refused(packed: PackedFrame) -> None:
    with pytest.raises(BadStream):
        resolve(packed, ENTRIES, ENTRIES)
