"""A pack brings a robot from one manifest to the next."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from content_samples import PLATFORM, Release, Robot, pack, text
from hypothesis import given, settings
from hypothesis import strategies as st

from lekiwi_deploy.content import objects
from lekiwi_deploy.content.apply import PackReader, WrongBase
from lekiwi_deploy.content.compression import compress_object, pack_bytes
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.manifests import entries_for
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.pack import base_range, make_pack, pack_objects
from lekiwi_deploy.content.paths import BadEntry
from lekiwi_deploy.content.stream import (
    MAX_BASES,
    MAX_SEGMENT,
    BadStream,
    Event,
    Frame,
    FrameReader,
    ManifestFrame,
    ObjectsFrame,
    PackedFrame,
    Part,
    encode_frames,
)
from lekiwi_deploy.errors import NotFound

NOISE = random.Random(7).randbytes(3 * MAX_SEGMENT // 2)


def events(stream: bytes) -> list[Event]:
    return FrameReader().feed(stream)


def frames(stream: bytes) -> list[PackedFrame]:
    return [event for event in events(stream) if isinstance(event, PackedFrame)]


def assert_complete(robot: Robot, release: Release) -> None:
    for one in entries_for(release.manifest, PLATFORM):
        if one.size:
            assert robot.objects.has(one)
            assert robot.objects.verify(one.digest, executable=one.kind == "x")


V1 = Release(
    {
        "code/a.py": text(200),
        "code/b.py": text(300, 1),
        "code/run*": b"#!/bin/sh\n",
        "code/l -> a.py": b"",
        "code/empty": b"",
    },
    {"deps/lib.so": text(30_000, 2)},
)
V2 = Release(
    {
        "code/a.py": text(200) + b"# changed\n",
        "code/b.py": text(300, 1),
        "code/run*": b"#!/bin/sh\nexec true\n",
        "code/new": b"new",
    },
    {"deps/lib.so": text(30_000, 2) + b"more"},
)


FIRST, SECOND = pack(None, V1), pack(V1, V2)


def test_a_first_pack_brings_everything(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    applied = robot.receive(V1)
    assert applied.stored_manifest == V1.stored
    assert applied.manifest == V1.manifest
    assert applied.failed == ()
    assert applied.objects == 5
    assert_complete(robot, V1)


def test_the_next_pack_brings_only_the_difference(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V1)
    small = robot.pack_to(V2)
    assert len(small) < 1200 < len(pack(None, V2)) // 20
    assert robot.receive(V2, small).objects == 4
    assert_complete(robot, V2)


def test_what_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V1)
    robot.has = None
    assert robot.receive(V1, pack(None, V1)).objects == 0


def test_the_same_pack_has_the_same_bytes() -> None:
    assert pack(V1, V2) == pack(V1, V2)
    assert pack(None, V1) == pack(None, V1)


def test_nothing_new_costs_only_the_manifest(tmp_path: Path) -> None:
    assert len(pack(V1, V1)) < 150
    assert frames(pack(V1, V1)) == []


def test_only_the_tree_of_the_robots_platform_is_sent() -> None:
    other = PLATFORM.replace("x86_64", "aarch64")
    stream = b"".join(
        make_pack(None, Release({"code/a": b"12"}).stored, other, {object_digest(b"12"): b"12"}.__getitem__)
    )
    assert len(frames(stream)) == 1
    with pytest.raises(NotFound, match="nothing was built for"):
        list(make_pack(None, V1.stored, other, V1.data.__getitem__))


def test_an_old_manifest_that_was_not_built_for_the_robot_is_no_help_but_no_error() -> None:
    other = PLATFORM.replace("x86_64", "aarch64")
    new = Release({"code/a.py": text(200)})
    stream = b"".join(make_pack(V1.stored, new.stored, other, new.data.__getitem__))
    assert not frames(stream)[0].bases


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:1000] + b"inserted" + data[1000:],
        lambda data: data[5000:],
        lambda data: data[: MAX_SEGMENT // 2] + data[MAX_SEGMENT // 2 + 7 :],
        lambda data: data + b"appended",
    ],
)
def test_a_large_file_is_patched_in_segments_wherever_it_changed(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    robot = Robot(tmp_path)
    robot.receive(Release({"code/model.bin": NOISE}))
    new = Release({"code/model.bin": change(NOISE)})
    stream = robot.pack_to(new)
    assert len(stream) < 5000
    assert [len(frame.parts) for frame in frames(stream)] == [1, 1]
    assert all(frame.bases for frame in frames(stream))
    robot.receive(new, stream)
    assert_complete(robot, new)


def test_a_large_file_that_is_like_no_other_goes_out_as_it_is_stored() -> None:
    old, new = Release({"code/model.bin": text(30_000)}), Release({"code/model.bin": NOISE[: 1 << 20]})
    asked: list[str] = []

    def stored(digest: str) -> bytes:
        asked.append(digest)
        return compress_object(new.data[digest])  # type: ignore[index]

    data = {**old.data, **new.data}
    stream = b"".join(make_pack(old.stored, new.stored, PLATFORM, data.__getitem__, stored))
    assert asked == [object_digest(NOISE[: 1 << 20])]
    assert stored(asked[0]) in stream


def test_many_small_files_share_frames(tmp_path: Path) -> None:
    release = Release({f"code/{number}.py": text(5, number) for number in range(600)})
    stream = pack(None, release)
    assert [len(frame.parts) for frame in frames(stream)] == [256, 256, 88]
    Robot(tmp_path).receive(release, stream)


def test_one_content_as_file_and_program_is_sent_once_and_stored_twice(tmp_path: Path) -> None:
    release = Release({"code/a": b"same", "code/b*": b"same", "code/c": b"same"})
    stream = pack(None, release)
    assert sum(len(frame.parts) for frame in frames(stream)) == 1
    robot = Robot(tmp_path)
    robot.receive(release, stream)
    assert_complete(robot, release)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """New folders on a disk that need not be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "make_durable", lambda paths, *, within: None)
        yield lambda: tmp_path_factory.mktemp("robot")


@pytest.mark.parametrize(("before", "after"), [("code/a", "code/a*"), ("code/a*", "code/b")])
def test_a_file_that_only_becomes_executable_or_ceases_to_be_costs_no_content(
    tmp_path: Path, before: str, after: str
) -> None:
    robot = Robot(tmp_path)
    robot.receive(Release({before: b"#!/bin/sh"}))
    assert frames(robot.pack_to(Release({after: b"#!/bin/sh"}))) == []
    assert robot.receive(Release({after: b"#!/bin/sh"})).failed == ()


NAMES = ("code/a.py", "code/b.py", "code/c/d*", "code/c/e", "code/f-1.2", "code/f-1.3")
CONTENTS = st.binary(max_size=100) | st.tuples(st.integers(0, 1500), st.integers(0, 3))
TREES = st.dictionaries(st.sampled_from(NAMES), CONTENTS)


@settings(deadline=None, max_examples=25)
@given(st.lists(TREES, min_size=1, max_size=4), st.integers(1, 5000))
def test_any_sequence_of_releases_arrives(
    folders: Callable[[], Path], trees: list[dict[str, bytes | tuple[int, int]]], size: int
) -> None:
    robot = Robot(folders())
    for tree in trees:
        release = Release({name: text(*data) if isinstance(data, tuple) else data for name, data in tree.items()})
        stream = robot.pack_to(release)
        reader = PackReader(robot.objects, release.digest, PLATFORM, robot.has.stored if robot.has else None)
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size])
        assert reader.finish().failed == ()
        reader.close()
        robot.has = release
        assert_complete(robot, release)


# What must not be believed


def test_a_pack_that_starts_from_another_manifest_is_a_wrong_base(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V2)
    with pytest.raises(WrongBase, match="starts from manifest"):
        robot.receive(V1, pack(V1, V1))
    robot.has = None
    with pytest.raises(WrongBase):
        robot.receive(V1, pack(V2, V1))


def test_a_pack_to_another_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadStream, match="another manifest"):
        Robot(tmp_path).receive(V1, pack(None, V2))


def test_a_missing_base_fails_only_what_needs_it(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V1)
    robot.objects.discard(object_digest(text(30_000, 2)))
    applied = robot.receive(V2)
    assert [one.path for one in applied.failed] == ["deps/lib.so"]


def test_a_damaged_base_is_noticed_and_removed(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V1)
    digest = object_digest(text(30_000, 2))
    path = Path(robot.objects.path_of(digest))
    path.chmod(0o644)
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    applied = robot.receive(V2)
    assert [one.path for one in applied.failed] == ["deps/lib.so"]
    assert not path.exists()


def test_a_cut_off_base_is_noticed_and_removed(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    robot.receive(V1)
    path = Path(robot.objects.path_of(object_digest(text(200))))
    path.chmod(0o644)
    path.write_bytes(b"short")
    applied = robot.receive(V2)
    assert "code/a.py" in [one.path for one in applied.failed]
    assert not path.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_pack_that_was_cut_off_is_not_complete_and_leaves_nothing_staged(tmp_path: Path, share: float) -> None:
    robot = Robot(tmp_path)
    stream = pack(None, V1)
    with pytest.raises(BadStream, match="cut off"):
        robot.receive(V1, stream[: int(len(stream) * share)])
    assert not list((tmp_path / "objects/incoming").iterdir())
    robot.receive(V1, stream)


def test_an_interrupted_download_goes_on_where_it_was(tmp_path: Path) -> None:
    stream = pack(None, V1)
    robot = Robot(tmp_path)
    first = PackReader(robot.objects, V1.digest, PLATFORM, None)
    first.feed(stream[: len(stream) // 2])
    again = PackReader(
        ObjectFolder(tmp_path / "objects"), V1.digest, PLATFORM, None
    )  # the agent was killed and started again
    again.feed(stream[: len(stream) // 2])
    again.feed(stream[len(stream) // 2 :])
    assert again.finish().failed == ()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 8 * len(SECOND) - 1))
def test_a_flipped_bit_never_gets_into_the_object_folder(folders: Callable[[], Path], bit: int) -> None:
    robot = Robot(folders())
    robot.receive(V1, FIRST)
    stream = bytearray(SECOND)
    stream[bit // 8] ^= 1 << bit % 8
    try:
        applied = robot.receive(V2, bytes(stream))
    except (BadStream, WrongBase):
        return
    assert applied.stored_manifest == V2.stored
    for one in entries_for(V2.manifest, PLATFORM):
        if one.size and one not in applied.failed:
            assert robot.objects.verify(one.digest, executable=one.kind == "x")


def whole_manifest(release: Release) -> tuple[Frame, bytes]:
    body = pack_bytes(release.stored)
    return ManifestFrame(bytes.fromhex(release.digest), len(release.stored), None, len(body)), body


def test_an_object_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    body = pack_bytes(b"evil")
    for part in (
        PackedFrame((99,), (), len(body)),
        PackedFrame((0,), (0,), len(body)),
        PackedFrame(((0, 10**6),), (), len(body)),
    ):
        with pytest.raises(BadStream):
            Robot(tmp_path).receive(V1, b"".join(encode_frames([whole_manifest(V1), (part, body)])))
    by_digest = ObjectsFrame((Part(bytes.fromhex(object_digest(b"evil")), 4, 4),), (), len(body))
    with pytest.raises(BadStream, match="by their digests"):
        Robot(tmp_path).receive(V1, b"".join(encode_frames([whole_manifest(V1), (by_digest, body)])))


def test_content_that_is_not_what_the_manifest_says_never_counts(tmp_path: Path) -> None:
    release = Release({"code/a": b"good", "code/b": b"fine"})
    body = pack_bytes(b"evil" + b"fine")
    stream = b"".join(encode_frames([whole_manifest(release), (PackedFrame((0, 1), (), len(body)), body)]))
    robot = Robot(tmp_path)
    assert [one.path for one in robot.receive(release, stream).failed] == ["code/a"]
    assert robot.objects.missing(release.manifest.files) == (release.manifest.files[0],)


def test_objects_before_the_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadStream, match="before the manifest"):
        Robot(tmp_path).receive(V1, b"".join(encode_frames([(PackedFrame((0,), (), 1), b"x")])))
    stream = b"".join(pack_objects((object_digest(text(200)),), V1.data.__getitem__))
    with pytest.raises(BadStream, match="by their digests"):
        Robot(tmp_path).receive(V1, stream)


def test_a_stream_without_a_manifest_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(BadStream, match="no manifest"):
        Robot(tmp_path).receive(V1, b"".join(pack_objects((), V1.data.__getitem__)))


def test_a_manifest_that_may_not_be_laid_out_is_refused_by_the_robot_too(tmp_path: Path) -> None:
    bad = Release({"code/../../x": b"1"})
    with pytest.raises(BadEntry, match=r"\.\."):
        list(make_pack(None, bad.stored, PLATFORM, bad.data.__getitem__))
    body = pack_bytes(bad.stored)
    forged = encode_frames([(ManifestFrame(bytes.fromhex(bad.digest), len(bad.stored), None, len(body)), body)])
    with pytest.raises(BadEntry, match=r"\.\."):
        Robot(tmp_path).receive(bad, b"".join(forged))


def test_a_manifest_that_unpacks_to_something_else_is_refused(tmp_path: Path) -> None:
    for lie, size in ((b"{}", len(V1.stored)), (V1.stored + b" ", len(V1.stored)), (V2.stored, len(V2.stored))):
        body = pack_bytes(lie)
        forged = encode_frames([(ManifestFrame(bytes.fromhex(V1.digest), size, None, len(body)), body)])
        with pytest.raises(BadStream, match="manifest"):
            Robot(tmp_path).receive(V1, b"".join(forged))


def test_two_manifests_in_one_pack_are_refused(tmp_path: Path) -> None:
    body = pack_bytes(V1.stored)
    frame = (ManifestFrame(bytes.fromhex(V1.digest), len(V1.stored), None, len(body)), body)
    with pytest.raises(BadStream, match="two manifests"):
        Robot(tmp_path).receive(V1, b"".join(encode_frames([frame, frame])))


@given(st.integers(1, 1 << 33), st.integers(1, 1 << 33), st.data())
def test_a_base_range_lies_in_the_old_file_and_within_bounds(new: int, old: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, (new - 1) // MAX_SEGMENT)) * MAX_SEGMENT
    first, last = base_range(start, min(MAX_SEGMENT, new - start), new, old)
    assert 0 <= first <= last <= old or first > last
    assert last - first <= MAX_BASES
