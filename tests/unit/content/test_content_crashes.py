"""Killed or failing at every step that changes the disk: afterwards there is the old slot or the new one, and the next try succeeds."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from content_samples import PLATFORM, Release, Robot, pack

from lekiwi_deploy.content.manifests import entries_for
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.slots import is_laid_out, lay_bare, lay_out, remove_leftovers, verify_slot

OLD = Release({"code/a.py": b"print(1)", "code/run*": b"#!/bin/sh"}, {"deps/d/lib.so": b"ELF"})
NEW = Release(
    {"code/a.py": b"print(2)", "code/run*": b"#!/bin/sh\n", "code/empty": b"", "code/l -> a.py": b""},
    {"deps/d/lib.so": b"ELF"},
)
PACK = pack(OLD, NEW)
EXTRA = {"metadata.json": b"{}", "manifest.json": NEW.stored}
CHANGING = ("open", "write", "fsync", "rename", "replace", "link", "symlink", "mkdir", "unlink", "rmdir", "chmod")


def prepared(folder: Path) -> Path:
    """A robot that runs OLD, and retains NEW without its tree."""
    robot = Robot(folder)
    robot.receive(OLD)
    (folder / "deployments").mkdir()
    lay_out(robot.objects, OLD.manifest, PLATFORM, folder / "deployments/old")
    lay_bare(robot.objects, folder / "deployments/new", extra=EXTRA)
    return folder


def update(folder: Path) -> None:
    """What an agent does: start up, apply the pack, lay out."""
    remove_leftovers(folder / "deployments")
    robot = Robot(folder)
    robot.has = OLD
    applied = robot.receive(NEW, PACK)
    assert not applied.failed
    lay_out(robot.objects, applied.manifest, PLATFORM, folder / "deployments/new", extra=EXTRA)


def interrupting(at: int, act: Callable[[], None]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Replacements for the calls that change the disk: before the one with the number `at`, `act` happens."""
    count = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                act()
            return real(*arguments, **options)

        return call

    for name in CHANGING:
        yield name, wrapped(getattr(os, name))


def assert_old_or_new_and_nothing_half(folder: Path) -> None:
    new = folder / "deployments/new"
    assert verify_slot(folder / "deployments/old", OLD.manifest, PLATFORM, hashes=True) == ()
    assert (new / "manifest.json").read_bytes() == NEW.stored
    if is_laid_out(new):
        assert verify_slot(new, NEW.manifest, PLATFORM, hashes=True) == ()
    left = [path for path in (folder / "deployments").iterdir() if path.name not in ("old", "new")]
    assert len(left) <= 1
    assert all(path.name.startswith(".tmp-") for path in left)
    objects = ObjectFolder(folder / "objects")
    for entry in entries_for(NEW.manifest, PLATFORM):
        if entry not in objects.missing([entry]) and entry.size:
            assert objects.verify(entry.digest, executable=entry.kind == "x")


def test_killed_before_any_step_it_is_whole_and_the_next_try_succeeds(tmp_path: Path) -> None:
    template = prepared(tmp_path / "template")
    for step in range(1, 1000):
        folder = tmp_path / "robot"
        shutil.copytree(template, folder, symlinks=True)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for name, call in interrupting(step, lambda: os._exit(9)):
                    setattr(os, name, call)
                update(folder)
                status = 0
            finally:
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9)
        assert_old_or_new_and_nothing_half(folder)
        update(folder)
        assert verify_slot(folder / "deployments/new", NEW.manifest, PLATFORM, hashes=True) == ()
        shutil.rmtree(folder)
        if code == 0:
            break
    assert 30 < step < 999


@pytest.mark.parametrize("code", [errno.ENOSPC])
def test_an_error_at_any_step_leaves_it_whole_and_the_next_try_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    template = prepared(tmp_path / "template")

    def fail() -> None:
        raise OSError(code, os.strerror(code))

    for step in range(1, 1000):
        folder = tmp_path / "robot"
        shutil.copytree(template, folder, symlinks=True)
        with monkeypatch.context() as patch:
            for name, call in interrupting(step, fail):
                patch.setattr(os, name, call)
            try:
                update(folder)
                done = True
            except OSError as error:
                assert error.errno == code
                done = False
        assert_old_or_new_and_nothing_half(folder)
        update(folder)
        assert verify_slot(folder / "deployments/new", NEW.manifest, PLATFORM, hashes=True) == ()
        shutil.rmtree(folder)
        if done and step > 30:
            break
    assert 30 < step < 999
