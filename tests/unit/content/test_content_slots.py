"""Laying a deployment out, verifying it, taking it down."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec
import pytest
from content_samples import PLATFORM, Release, Robot

from lekiwi_deploy.content import slots as module
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.objects import CorruptObject, ObjectFolder
from lekiwi_deploy.content.paths import BadEntry
from lekiwi_deploy.content.slots import (
    DiskNeed,
    MissingObjects,
    disk_needed,
    is_laid_out,
    lay_bare,
    lay_out,
    remove_leftovers,
    remove_slot,
    verify_slot,
)
from lekiwi_deploy.content.tree import read_tree
from lekiwi_deploy.errors import NotFound

RELEASE = Release(
    {
        "code/a.py": b"print()", "code/run*": b"#!/bin/sh", "code/empty": b"", "code/also-empty*": b"",
        "code/d/same": b"print()", "code/l -> d/same": b"",
    },
    {"deps/lib.so": b"ELF", "deps/l -> ../code/a.py": b""},
)  # fmt: skip
MANIFEST = RELEASE.manifest
EXTRA = {"metadata.json": b'{"id": "dep_1"}', "manifest.json": RELEASE.stored}


@pytest.fixture
def objects(tmp_path: Path) -> ObjectFolder:
    robot = Robot(tmp_path)
    robot.receive(RELEASE)
    return robot.objects


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "deployments").mkdir()
    return tmp_path / "deployments" / "dep_1"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_slot_holds_what_the_manifest_says(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target, extra=EXTRA)
    assert names(target) == ["code", "deps", "manifest.json", "metadata.json"]
    assert read_tree(target / "code", "code") == MANIFEST.files
    assert read_tree(target, ignore=None)[-3].path == "deps/lib.so"
    assert (target / "deps/l").read_bytes() == b"print()"
    assert verify_slot(target, MANIFEST, PLATFORM, hashes=True) == ()
    assert names(target.parent) == ["dep_1"]


def test_files_are_linked_and_read_only_but_empty_ones_stand_alone(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target)
    same = (target / "code/a.py").stat()
    assert same.st_ino == (target / "code/d/same").stat().st_ino
    assert same.st_ino == Path(objects.path_of(object_digest(b"print()"))).stat().st_ino
    assert stat.S_IMODE(same.st_mode) == 0o444
    assert stat.S_IMODE((target / "code/run").stat().st_mode) == 0o555
    assert (target / "code/empty").stat().st_nlink == 1
    assert stat.S_IMODE((target / "code/also-empty").stat().st_mode) == 0o555


def test_without_a_platform_only_the_common_files_are_laid_out(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, None, target)
    assert names(target) == ["code"]
    with pytest.raises(NotFound, match="aarch64"):
        lay_out(objects, MANIFEST, PLATFORM.replace("x86_64", "aarch64"), target)


def test_a_bare_slot_is_laid_out_in_one_exchange_and_back(objects: ObjectFolder, target: Path) -> None:
    lay_bare(objects, target, extra=EXTRA)
    assert not is_laid_out(target)
    assert names(target) == ["manifest.json", "metadata.json"]
    lay_out(objects, MANIFEST, PLATFORM, target, extra=EXTRA)
    assert is_laid_out(target)
    assert verify_slot(target, MANIFEST, PLATFORM) == ()
    lay_bare(objects, target, extra=EXTRA)
    assert names(target) == ["manifest.json", "metadata.json"]
    assert names(target.parent) == ["dep_1"]


def test_where_nothing_can_be_exchanged_the_slot_is_replaced_all_the_same(
    objects: ObjectFolder, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "exchange", lambda one, other: False)
    lay_bare(objects, target, extra=EXTRA)
    lay_out(objects, MANIFEST, PLATFORM, target)
    assert verify_slot(target, MANIFEST, PLATFORM) == ()
    assert names(target.parent) == ["dep_1"]


def test_missing_objects_are_all_named_and_nothing_is_left(objects: ObjectFolder, target: Path) -> None:
    for data in (b"ELF", b"d/same"):
        objects.discard(object_digest(data))
    with pytest.raises(MissingObjects) as caught:
        lay_out(objects, MANIFEST, PLATFORM, target)
    assert set(caught.value.digests) == {object_digest(b"ELF"), object_digest(b"d/same")}
    assert names(target.parent) == []


def test_a_full_disk_leaves_the_old_slot_as_it_was(
    objects: ObjectFolder, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_bare(objects, target, extra=EXTRA)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        lay_out(objects, MANIFEST, PLATFORM, target, extra=EXTRA)
    assert names(target.parent) == ["dep_1"]
    assert names(target) == ["manifest.json", "metadata.json"]


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_what_cannot_be_linked_is_copied(
    objects: ObjectFolder, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refused)
    lay_out(objects, MANIFEST, PLATFORM, target)
    assert verify_slot(target, MANIFEST, PLATFORM, hashes=True) == ()
    assert (target / "code/a.py").stat().st_nlink == 1
    assert stat.S_IMODE((target / "code/run").stat().st_mode) == 0o555


def test_a_leftover_of_an_interrupted_layout_is_in_nobodys_way(objects: ObjectFolder, target: Path) -> None:
    left = target.with_name(".tmp-dep_1")
    (left / "code").mkdir(parents=True)
    (left / "code/a.py").write_bytes(b"half")
    lay_out(objects, MANIFEST, PLATFORM, target)
    assert verify_slot(target, MANIFEST, PLATFORM, hashes=True) == ()
    (target.parent / ".tmp-gone-dep_2/code").mkdir(parents=True)
    assert remove_leftovers(target.parent) == 1
    assert names(target.parent) == ["dep_1"]


def test_a_removed_slot_is_gone_and_its_objects_stay(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target)
    remove_slot(target)
    remove_slot(target)
    assert names(target.parent) == []
    lay_out(objects, MANIFEST, PLATFORM, target)


def test_a_link_whose_object_is_damaged_is_never_made(objects: ObjectFolder, target: Path) -> None:
    path = Path(objects.path_of(object_digest(b"d/same")))
    path.chmod(0o644)
    path.write_bytes(b"/etc/x")
    with pytest.raises(CorruptObject):
        lay_out(objects, MANIFEST, PLATFORM, target)
    assert names(target.parent) == []


@pytest.mark.parametrize("link", ["/etc/passwd", "../../x", "d/../../../x", "a/.."])
def test_a_link_out_is_refused_when_its_target_is_read(tmp_path: Path, target: Path, link: str) -> None:
    release = Release({f"code/l -> {link}": b""})
    robot = Robot(tmp_path)
    robot.receive(release)
    with pytest.raises(BadEntry, match="'code/l' cannot be deployed: it is a symbolic link"):
        lay_out(robot.objects, release.manifest, None, target)


def test_a_link_target_that_is_no_text_is_refused(tmp_path: Path, target: Path) -> None:
    objects = ObjectFolder(tmp_path / "objects")
    objects.add(object_digest(b"\xff"), b"\xff")
    objects.commit()
    release = Release({"code/l -> x": b""})
    entry = msgspec.structs.replace(release.manifest.files[0], digest=object_digest(b"\xff"), size=1)
    with pytest.raises(BadEntry, match="not UTF-8"):
        lay_out(objects, msgspec.structs.replace(release.manifest, files=(entry,)), None, target)


def test_a_manifest_is_checked_again_before_anything_is_written(objects: ObjectFolder, target: Path) -> None:
    bad = Release({"code/../../x": b"print()"})
    with pytest.raises(BadEntry):
        lay_out(objects, bad.manifest, None, target)
    assert names(target.parent) == []


@pytest.mark.parametrize("name", ["code", "deps", "a/b", "..", ""])
def test_extra_files_cannot_stand_among_the_deployments_own(objects: ObjectFolder, target: Path, name: str) -> None:
    with pytest.raises(BadEntry):
        lay_out(objects, MANIFEST, PLATFORM, target, extra={name: b""})


def damage_size(target: Path) -> None:
    (target / "code/a.py").unlink()
    (target / "code/a.py").write_bytes(b"print")


def damage_mode(target: Path) -> None:
    (target / "code/a.py").unlink()
    (target / "code/a.py").write_bytes(b"print()")
    (target / "code/a.py").chmod(0o755)


def damage_kind(target: Path) -> None:
    (target / "code/a.py").unlink()
    (target / "code/a.py").symlink_to("d/same")


def damage_by_removal(target: Path) -> None:
    (target / "code/a.py").unlink()


def damage_by_folder(target: Path) -> None:
    (target / "code/a.py").unlink()
    (target / "code/a.py").mkdir()


@pytest.mark.parametrize("damage", [damage_size, damage_mode, damage_kind, damage_by_removal, damage_by_folder])
def test_damage_is_found_without_reading_content(objects: ObjectFolder, target: Path, damage: object) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target)
    assert callable(damage)
    damage(target)
    assert [one.path for one in verify_slot(target, MANIFEST, PLATFORM)] == ["code/a.py"]


def test_another_link_target_and_a_folder_in_a_files_place_are_found(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target)
    (target / "code/l").unlink()
    (target / "code/l").symlink_to("d/sane")
    (target / "code/d/same").unlink()
    (target / "code/d").rmdir()
    (target / "code/d").write_bytes(b"")
    assert [one.path for one in verify_slot(target, MANIFEST, PLATFORM)] == ["code/d/same", "code/l"]


def test_changed_content_of_the_same_size_is_found_by_its_hash(objects: ObjectFolder, target: Path) -> None:
    lay_out(objects, MANIFEST, PLATFORM, target)
    (target / "code/a.py").chmod(0o644)
    (target / "code/a.py").write_bytes(b"PRINT()")
    (target / "code/a.py").chmod(0o444)
    (target / "code/more.pyc").write_bytes(b"compiled on the robot")
    assert verify_slot(target, MANIFEST, PLATFORM) == ()
    assert [one.path for one in verify_slot(target, MANIFEST, PLATFORM, hashes=True)] == ["code/a.py", "code/d/same"]


def test_the_disk_needed_is_what_is_not_there_yet(objects: ObjectFolder, tmp_path: Path) -> None:
    assert disk_needed(objects, MANIFEST, PLATFORM) == DiskNeed(3 * 4096, 3 + 4)
    empty = ObjectFolder(tmp_path / "empty")
    assert disk_needed(empty, MANIFEST, PLATFORM) == DiskNeed((5 + 3) * 4096, 5 + 3 + 4)
