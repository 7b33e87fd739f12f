"""Writing so that it survives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lekiwi_deploy.content import durable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_few_files_are_flushed_one_by_one_and_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    whole: list[Path] = []
    monkeypatch.setattr(durable, "sync_path", flushed.append)
    monkeypatch.setattr(durable, "_sync_file_system", lambda path: whole.append(path) is None)
    few, many = [f"{number}" for number in range(3)], [f"{number}" for number in range(300)]
    durable.make_durable(few, within=tmp_path)
    assert (flushed, whole) == (few, [])
    durable.make_durable(many, within=tmp_path)
    assert (flushed, whole) == (few, [tmp_path])


def test_where_no_whole_flush_exists_each_file_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(durable, "sync_path", flushed.append)
    monkeypatch.setattr(durable, "_sync_file_system", lambda path: False)
    many = [f"{number}" for number in range(300)]
    durable.make_durable(many, within=tmp_path)
    assert flushed == many


def test_the_real_flush_works_here(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(100)]
    for path in paths:
        path.touch()
    durable.make_durable([str(path) for path in paths], within=tmp_path)
    durable.make_durable([str(tmp_path)], within=tmp_path)
    with pytest.raises(FileNotFoundError):
        durable.make_durable([str(tmp_path / "missing")], within=tmp_path)


def test_a_file_is_replaced_whole_and_no_temporary_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    durable.write_durably(path, b"one")
    durable.write_durably(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["journal.json"]


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.json"
    durable.write_durably(path, b"one")

    def failing(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="No space"):
        durable.write_durably(path, b"two")
    assert path.read_bytes() == b"one"
    assert names(tmp_path) == ["journal.json"]


def test_two_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not durable.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange")
    assert names(tmp_path / "a") == ["b"]
    with pytest.raises(FileNotFoundError):
        durable.exchange(tmp_path / "a", tmp_path / "missing")
