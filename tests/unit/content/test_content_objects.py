"""The robot's object folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from content_samples import EXECUTABLE, FILE, LINK, entry

from lekiwi_deploy.content import objects as module
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.objects import CorruptObject, ObjectFolder, Removed
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileKind

DATA = b"some content"
DIGEST = object_digest(DATA)


@pytest.fixture
def folder(tmp_path: Path) -> ObjectFolder:
    return ObjectFolder(tmp_path / "objects")


def everything(folder: ObjectFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())


def test_a_committed_object_is_read_only_under_its_digest(folder: ObjectFolder) -> None:
    folder.add(DIGEST, DATA)
    folder.add(DIGEST, DATA, executable=True)
    assert folder.commit() == 2
    assert everything(folder) == [f"{DIGEST[:2]}/{DIGEST[2:]}", f"{DIGEST[:2]}/{DIGEST[2:]}.x"]
    assert stat.S_IMODE(Path(folder.path_of(DIGEST)).stat().st_mode) == 0o444
    assert stat.S_IMODE(Path(folder.path_of(DIGEST, executable=True)).stat().st_mode) == 0o555
    assert folder.read(DIGEST) == DATA
    assert folder.read(DIGEST, 5, 3) == DATA[5:8]


def test_an_object_has_no_name_before_it_is_on_disk(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    durable: list[list[str]] = []
    real = module.make_durable

    def observed(paths: list[str], *, within: Path) -> None:
        durable.append([path for path in everything(folder) if "incoming" not in path])
        real(paths, within=within)

    monkeypatch.setattr(module, "make_durable", observed)
    folder.add(DIGEST, DATA)
    folder.commit()
    assert durable == [[]]
    assert folder.unflushed() == {str(folder.path), str(folder.path / DIGEST[:2])}
    assert folder.unflushed() == set()


def test_after_a_failed_flush_nothing_of_it_is_kept(folder: ObjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(paths: list[str], *, within: Path) -> None:
        raise OSError(errno.EIO, "I/O error")

    folder.add(DIGEST, DATA)
    monkeypatch.setattr(module, "make_durable", failing)
    with pytest.raises(OSError, match="I/O error"):
        folder.commit()
    assert everything(folder) == []
    assert folder.missing([entry("a", DATA)])


def test_what_a_dead_process_left_is_removed(folder: ObjectFolder) -> None:
    folder.add(DIGEST, DATA)
    assert any("incoming" in path for path in everything(folder))
    again = ObjectFolder(folder.path)
    assert everything(again) == []


def test_missing_names_each_object_once_by_digest_and_kind(folder: ObjectFolder) -> None:
    entries = [
        entry("a", DATA),
        entry("b", DATA),
        entry("c", DATA, EXECUTABLE),
        entry("d", DATA, LINK),
        entry("e", b""),
    ]
    assert folder.missing(entries) == (entries[0], entries[2])
    folder.add(DIGEST, DATA)
    assert folder.missing(entries) == (entries[2],)
    folder.commit()
    assert folder.missing(entries) == (entries[2],)


def test_an_object_of_the_wrong_size_is_missing(folder: ObjectFolder) -> None:
    folder.add(DIGEST, DATA)
    folder.commit()
    Path(folder.path_of(DIGEST)).chmod(0o644)  # only root may write to a read-only file
    os.truncate(folder.path_of(DIGEST), 3)
    assert folder.missing([entry("a", DATA)])
    assert not folder.verify(DIGEST)


def test_corrupt_content_never_gets_a_name(folder: ObjectFolder) -> None:
    with pytest.raises(CorruptObject, match=DIGEST[:12]):
        folder.add(DIGEST, b"other bytes!")
    with pytest.raises(CorruptObject, match="more than the 3 bytes"):
        folder.write(DIGEST, 3).write(DATA)
    writer = folder.write(DIGEST, len(DATA))
    writer.write(DATA[:4])
    with pytest.raises(CorruptObject, match="4 bytes instead of 12"):
        writer.finish(plain=True, executable=False)
    writer.close()
    writer.close()
    assert folder.commit() == 0


def test_a_digest_that_is_none_is_never_a_path(folder: ObjectFolder) -> None:
    with pytest.raises(ValueError, match=r"\.\./x"):
        folder.write(ObjectDigest("../x"), 1)


def test_both_forms_can_come_from_one_writer(folder: ObjectFolder) -> None:
    writer = folder.write(DIGEST, len(DATA))
    for byte in DATA:
        writer.write(bytes([byte]))
    writer.finish(plain=True, executable=True)
    writer.close()
    assert folder.commit() == 2
    assert folder.verify(DIGEST)
    assert folder.verify(DIGEST, executable=True)
    assert Path(folder.path_of(DIGEST)).stat().st_nlink == 1


def test_dropped_objects_leave_nothing(folder: ObjectFolder) -> None:
    folder.add(DIGEST, DATA)
    folder.drop_staged()
    assert folder.commit() == 0
    assert everything(folder) == []


def test_reading_what_is_not_there_names_it(folder: ObjectFolder) -> None:
    with pytest.raises(NotFound, match=DIGEST[:12]):
        folder.read(DIGEST)
    assert not folder.verify(DIGEST)


def test_only_unreferenced_objects_are_removed(folder: ObjectFolder) -> None:
    for data, executable in ((DATA, False), (DATA, True), (b"gone", False), (b"gone too", True)):
        folder.add(object_digest(data), data, executable=executable)
    folder.commit()
    assert folder.remove_unreferenced({DIGEST}) == Removed(2, 12)
    assert everything(folder) == [f"{DIGEST[:2]}/{DIGEST[2:]}", f"{DIGEST[:2]}/{DIGEST[2:]}.x"]


def test_a_discarded_object_is_missing_in_both_forms(folder: ObjectFolder) -> None:
    for executable in (False, True):
        folder.add(DIGEST, DATA, executable=executable)
    folder.commit()
    folder.discard(DIGEST)
    folder.discard(DIGEST)
    assert folder.missing([entry("a", DATA, FILE), entry("b", DATA, EXECUTABLE)])
    assert everything(folder) == []


def test_a_link_in_place_of_an_object_is_not_followed(folder: ObjectFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    place = Path(folder.path_of(DIGEST))
    place.parent.mkdir()
    place.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        folder.read(DIGEST)


@pytest.mark.parametrize(("here", "wanted"), [(False, EXECUTABLE), (True, FILE), (True, LINK)])
def test_content_that_is_here_in_the_other_form_is_copied(folder: ObjectFolder, here: bool, wanted: FileKind) -> None:
    folder.add(DIGEST, DATA, executable=here)
    folder.commit()
    assert folder.derive([entry("a", DATA, wanted), entry("b", b"unknown")]) == (entry("b", b"unknown"),)
    assert folder.commit() == 1
    assert folder.verify(DIGEST)
    assert folder.verify(DIGEST, executable=True)


def test_a_damaged_other_form_is_removed_not_copied(folder: ObjectFolder) -> None:
    folder.add(DIGEST, DATA, executable=True)
    folder.commit()
    path = Path(folder.path_of(DIGEST, executable=True))
    path.chmod(0o755)
    path.write_bytes(b"x" * len(DATA))
    assert folder.derive([entry("a", DATA)]) == (entry("a", DATA),)
    assert everything(folder) == []
