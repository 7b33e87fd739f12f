"""Damage on the robot's disk: found by times and by content, put aside, taken back from where it is still whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from content_samples import PLATFORM, Release, Robot
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.slots import holds, is_right, lay_out, verify_slot
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry

RELEASE = Release({"code/a.py": b"print()", "code/run*": b"#!/bin/sh", "code/l -> a.py": b""})
MANIFEST = RELEASE.manifest
EXTRA = {"metadata.json": b"{}", "manifest.json": RELEASE.stored}


@pytest.fixture
def objects(tmp_path: Path) -> ObjectFolder:
    robot = Robot(tmp_path)
    robot.receive(RELEASE)
    return robot.objects


@pytest.fixture
def slot(objects: ObjectFolder, tmp_path: Path) -> Path:
    target = tmp_path / "deployments/dep_1"
    target.parent.mkdir()
    lay_out(objects, MANIFEST, PLATFORM, target, extra=EXTRA)
    return target


def of(path: str) -> FileEntry:
    return next(entry for entry in MANIFEST.files if entry.path == path)


def overwrite(path: Path, data: bytes, *, later_ns: int) -> None:
    """Same size; `later_ns` after the slot was laid out."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)
    sealed = (path.parents[1] / "manifest.json").stat().st_mtime_ns
    os.utime(path, ns=(sealed + later_ns, sealed + later_ns))


def test_a_file_that_was_written_to_is_read_and_one_that_was_only_touched_is_right(slot: Path) -> None:
    overwrite(slot / "code/a.py", b"print()", later_ns=5)
    assert verify_slot(slot, MANIFEST, PLATFORM) == ()
    overwrite(slot / "code/a.py", b"PRINT()", later_ns=5)
    assert verify_slot(slot, MANIFEST, PLATFORM) == (of("code/a.py"),)


def test_rot_that_leaves_no_trace_is_found_by_content_alone(slot: Path) -> None:
    overwrite(slot / "code/a.py", b"PRINT()", later_ns=0)
    assert verify_slot(slot, MANIFEST, PLATFORM) == ()
    assert verify_slot(slot, MANIFEST, PLATFORM, hashes=True) == (of("code/a.py"),)
    assert not is_right(slot, of("code/a.py"))
    assert not holds(slot, MANIFEST, PLATFORM, of("code/a.py").digest)
    assert holds(slot, MANIFEST, PLATFORM, of("code/run").digest)


def test_objects_from_when_the_clock_was_ahead_are_no_damage(objects: ObjectFolder, tmp_path: Path) -> None:
    ahead = 4_000_000_000_000_000_000
    os.utime(objects.path_of(of("code/a.py").digest), ns=(ahead, ahead))
    target = tmp_path / "slot"
    lay_out(objects, MANIFEST, PLATFORM, target, extra=EXTRA)
    assert (target / "manifest.json").stat().st_mtime_ns == ahead
    assert verify_slot(target, MANIFEST, PLATFORM) == ()


def test_a_damaged_object_is_put_aside_and_missing(objects: ObjectFolder) -> None:
    entry = of("code/a.py")
    path = Path(objects.path_of(entry.digest))
    path.chmod(0o644)
    path.write_bytes(b"PRINT()")
    assert not objects.verify(entry.digest)
    objects.set_aside(entry.digest)
    objects.set_aside(entry.digest)
    assert objects.missing([entry]) == (entry,)
    assert [one.read_bytes() for one in (objects.path / "damaged").iterdir()] == [b"PRINT()"]
    assert entry.digest not in {one.digest for one in objects.stored()}


def test_only_the_newest_damaged_objects_are_kept(objects: ObjectFolder) -> None:
    digests = [entry.digest for entry in _more(objects, 6)]
    for digest in digests:
        objects.set_aside(digest)
    assert len(list((objects.path / "damaged").iterdir())) == 3


def test_an_object_is_taken_back_out_of_a_slot(objects: ObjectFolder, slot: Path) -> None:
    for name, executable in (("code/a.py", False), ("code/run", True)):
        entry = of(name)
        objects.discard(entry.digest)
        objects.take_back(slot / name, entry.digest, executable=executable)
        assert objects.verify(entry.digest, executable=executable)


@given(stops=st.lists(st.integers(0, 12), max_size=6))
def test_reading_on_from_anywhere_comes_by_every_object_once(
    stops: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = ObjectFolder(tmp_path_factory.mktemp("objects"))
    _more(objects, 12)
    everything = [one.name for one in objects.stored()]
    assert everything == sorted(everything) and len(everything) == 12
    seen: list[str] = []
    for stop in [*stops, 12]:
        seen += [one.name for one in objects.stored(seen[-1] if seen else "")][:stop]
    assert seen == everything


def _more(objects: ObjectFolder, count: int) -> list[FileEntry]:
    release = Release({f"code/{number}": b"%d" % number for number in range(count)})
    for entry in release.manifest.files:
        objects.add(ObjectDigest(entry.digest), release.data[entry.digest])
    objects.commit()
    return list(release.manifest.files)
