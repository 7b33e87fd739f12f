"""Taking in whole objects: repair on a robot, uploads on the server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard
from content_samples import EXECUTABLE, entry, text

from lekiwi_deploy.content import upload
from lekiwi_deploy.content.compression import compress_object, decompress_object, pack_bytes
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.objects import CorruptObject, ObjectFolder
from lekiwi_deploy.content.pack import pack_objects
from lekiwi_deploy.content.receive import receive_objects, wanted_objects
from lekiwi_deploy.content.stream import BadStream, Base, Frame, ManifestFrame, ObjectsFrame, Part, encode_frames
from lekiwi_deploy.content.upload import UploadReader
from lekiwi_deploy.errors import NotFound, TooLarge
from lekiwi_deploy.wire.ids import ObjectDigest

BIG = text(20_000)
DATA = {object_digest(data): data for data in (b"one", b"two", BIG)}
ONE, TWO, LARGE = DATA
ENTRIES = (entry("a", b"one"), entry("b", b"two", EXECUTABLE), entry("c", BIG), entry("d", BIG))
STREAM = b"".join(pack_objects(tuple(DATA), DATA.__getitem__))


def frame(digest: ObjectDigest, body: bytes, size: int, length: int | None = None) -> tuple[Frame, bytes]:
    return ObjectsFrame((Part(bytes.fromhex(digest), size, length or size),), (), len(body)), body


def stream(*frames: tuple[Frame, bytes]) -> bytes:
    return b"".join(encode_frames(frames))


@pytest.fixture
def folder(tmp_path: Path) -> ObjectFolder:
    return ObjectFolder(tmp_path / "objects")


# Repair


def test_objects_that_were_asked_for_are_stored(folder: ObjectFolder) -> None:
    assert receive_objects([STREAM[:1000], STREAM[1000:]], folder, ENTRIES) == 3
    assert folder.missing(ENTRIES) == ()
    assert receive_objects([STREAM], folder, ENTRIES) == 0


def test_an_object_that_did_not_come_is_an_error_and_the_others_are_kept(folder: ObjectFolder) -> None:
    with pytest.raises(NotFound, match="1 objects did not come"):
        receive_objects(
            [stream(frame(ONE, pack_bytes(b"one"), 3), frame(LARGE, pack_bytes(BIG), len(BIG)))], folder, ENTRIES
        )
    assert folder.missing(ENTRIES) == (ENTRIES[1],)


def test_what_arrived_before_the_connection_broke_is_kept(folder: ObjectFolder) -> None:
    with pytest.raises(BadStream, match="cut off"):
        receive_objects([STREAM[: len(STREAM) - 1000]], folder, ENTRIES)
    assert folder.missing(ENTRIES) == (ENTRIES[2],)


def test_an_object_in_parts_is_put_together(folder: ObjectFolder) -> None:
    pieces = [BIG[start : start + 100_000] for start in range(0, len(BIG), 100_000)]
    parts = [frame(LARGE, pack_bytes(piece), len(BIG), len(piece)) for piece in pieces]
    assert receive_objects([stream(*parts)], folder, [ENTRIES[2]]) == 1


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([frame(ONE, pack_bytes(b"ONE"), 3)], "does not have the content"),
        ([frame(ONE, pack_bytes(b"on"), 3)], "less"),
        ([frame(ONE, pack_bytes(b"one and more"), 3)], "more"),
        ([frame(ONE, b"not zstd at all", 3)], "cannot be unpacked"),
        ([frame(ONE, b"", 3)], "less"),
        ([frame(ONE, pack_bytes(b"o"), 3, 1), frame(TWO, pack_bytes(b"two"), 3)], "in part"),
        ([frame(TWO, pack_bytes(b"two"), 3), frame(ONE, pack_bytes(b"o"), 3, 1)], "in part"),
        ([frame(ONE, pack_bytes(b"on"), 3, 2), frame(ONE, pack_bytes(b"on"), 3, 2)], "more than the 3 bytes"),
        ([frame(ONE, pack_bytes(bytes(1 << 20)), 3)], "more"),
    ],
)  # fmt: skip
def test_an_object_that_came_damaged_is_named(
    folder: ObjectFolder, frames: list[tuple[Frame, bytes]], reason: str
) -> None:
    with pytest.raises(CorruptObject, match=reason) as caught:
        receive_objects([stream(*frames)], folder, ENTRIES)
    assert caught.value.digest == ONE
    assert ENTRIES[0] in folder.missing(ENTRIES)


def test_repair_takes_no_manifest_and_nothing_else(folder: ObjectFolder) -> None:
    body = pack_bytes(b"{}")
    with pytest.raises(BadStream, match="only objects"):
        receive_objects([stream((ManifestFrame(bytes(32), 2, None, len(body)), body))], folder, ENTRIES)
    other = object_digest(b"other")
    with pytest.raises(BadStream, match="not asked for"):
        receive_objects([stream(frame(other, pack_bytes(b"other"), 5))], folder, ENTRIES)


def test_entries_that_disagree_about_a_size_are_refused() -> None:
    with pytest.raises(BadStream, match="two sizes"):
        wanted_objects([entry("a", b"one"), msgspec.structs.replace(entry("b", b"one"), size=4)])


# Uploads


def test_uploaded_objects_are_verified_and_left_as_they_were_packed() -> None:
    reader = UploadReader(DATA)
    found = [one for start in range(0, len(STREAM), 777) for one in reader.feed(STREAM[start : start + 777])]
    reader.finish()
    assert [(one.digest, one.size) for one in found] == [(digest, len(data)) for digest, data in DATA.items()]
    assert all(one.stored == compress_object(DATA[one.digest]) for one in found)
    assert all(decompress_object(one.stored, one.digest) == DATA[one.digest] for one in found)
    assert reader.missing == frozenset()


def test_objects_that_are_not_wanted_are_skipped() -> None:
    reader = UploadReader([ONE])
    assert [one.digest for one in reader.feed(STREAM)] == [ONE]
    reader = UploadReader(DATA)
    reader.feed(stream(frame(ONE, pack_bytes(b"one"), 3)))
    assert reader.missing == {TWO, LARGE}


@pytest.mark.parametrize(
    "bad",
    [
        frame(ONE, pack_bytes(b"ONE"), 3),
        frame(ONE, pack_bytes(b"on"), 3),
        frame(ONE, pack_bytes(bytes(1 << 20)), 3),
        frame(ONE, b"noise", 3),
        frame(ONE, b"", 3),
        frame(ONE, zstandard.ZstdCompressor(write_content_size=False).compress(b"one"), 3),
    ],
)
def test_a_damaged_upload_is_refused(bad: tuple[Frame, bytes]) -> None:
    with pytest.raises(CorruptObject, match=ONE[:12]):
        UploadReader(DATA).feed(stream(bad))


@pytest.mark.parametrize(
    "bad",
    [
        frame(ONE, pack_bytes(b"o"), 3, 1),
        (ObjectsFrame((Part(bytes.fromhex(ONE), 3, 3), Part(bytes.fromhex(TWO), 3, 3)), (), 1), b"x"),
        (ObjectsFrame((Part(bytes.fromhex(ONE), 3, 3),), (Base(bytes.fromhex(TWO), 0, 3),), 1), b"x"),
        (ManifestFrame(bytes(32), 2, None, 1), b"x"),
    ],
)
def test_an_upload_holds_whole_objects_only(bad: tuple[Frame, bytes]) -> None:
    with pytest.raises(BadStream, match="upload holds"):
        UploadReader(DATA).feed(stream(bad))


def test_an_object_too_large_for_memory_is_refused_before_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "MAX_OBJECT", 10)
    with pytest.raises(TooLarge, match="10 are allowed"):
        UploadReader(DATA).feed(STREAM)


def test_a_cut_off_upload_is_noticed() -> None:
    reader = UploadReader(DATA)
    reader.feed(STREAM[:-1])
    with pytest.raises(BadStream, match="cut off"):
        reader.finish()
