"""The plug is pulled, on real file systems, at every call that changes the disk: at once, and six seconds later (past ext4's own
commit, which keeps names and loses data that nobody flushed). A loop device flushes when it is told to: a card that lies cannot be
tried this way."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from faults_world import Deployer, Told, spread, unsettled, wrongs

from lekiwi_deploy.testing.machine_disk import KINDS, Disk
from lekiwi_deploy.testing.machine_tools import MachineFailed

REQUIRED = os.environ.get("LEKIWI_REQUIRE_MACHINES") == "1"
pytestmark = [pytest.mark.root, pytest.mark.timeout(7200)]
LATER_S = 6.0
POINTS = {"ext4": 16, "xfs": 8}


@pytest.fixture(scope="session", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """A file system that can be made here."""
    kind: str = request.param
    reason = None
    if os.geteuid() != 0:
        reason = "pulling the plug of a file system needs root"
    elif shutil.which(f"mkfs.{kind}") is None:
        reason = f"mkfs.{kind} is not installed"
    if reason is not None:
        (pytest.fail if REQUIRED and os.geteuid() == 0 else pytest.skip)(reason)
    return kind


@pytest.fixture(scope="session")
def image(kind: str, deploys: Deployer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with a robot on it that has two good deployments."""
    try:
        disk = Disk(tmp_path_factory.mktemp(f"disk-{kind}"), kind=kind)
    except MachineFailed as error:
        (pytest.fail if REQUIRED else pytest.skip)(f"no {kind} on a loop device here: {error}")
    (disk.mount / "robot").mkdir()
    for name in "ab":
        assert deploys.run(disk.mount / "robot", name).done
    disk.detach()
    yield disk.image
    disk.close()


@contextmanager
def robot_on(image: Path, folder: Path, kind: str) -> Iterator[Disk]:
    """Another disk like it, mounted."""
    disk = Disk(folder, kind=kind, like=image)
    try:
        yield disk
    finally:
        disk.close()
        shutil.rmtree(folder)


def judge(disk: Disk, deploys: Deployer, told: Told) -> list[str]:
    """The power comes back: what is wrong, and what after the next deployment."""
    disk.boot()
    root = disk.mount / "robot"
    found = wrongs(root, told)
    again = deploys.run(root)
    if not again.done:
        return [*found, f"the next deployment did not get through: {again}"]
    return found + unsettled(root)


def test_the_plug_is_pulled_at_every_point(
    kind: str, image: Path, deploys: Deployer, calls: int, tmp_path: Path, soak: bool
) -> None:
    points = spread(calls, calls if soak else POINTS[kind])
    violations: dict[int, list[str]] = {}
    for at in points:
        with robot_on(image, tmp_path / "one", kind) as disk:
            told = deploys.run(disk.mount / "robot", action="kill", at=at)
            disk.cut()
            found = judge(disk, deploys, told)
        if found:
            violations[at] = found
    print(f"{kind}: {len(points)} of {calls} points, {len(violations)} violations")
    assert not violations


def test_the_plug_is_pulled_six_seconds_later(
    kind: str, image: Path, deploys: Deployer, calls: int, tmp_path: Path, soak: bool
) -> None:
    points = [*spread(calls, calls if soak else 5, turn=3), 10**9]  # the last one: after it was done
    violations: dict[int, list[str]] = {}
    for start in range(0, len(points), 12):
        with ExitStack() as disks:
            runs = []
            for at in points[start : start + 12]:
                disk = disks.enter_context(robot_on(image, tmp_path / str(at), kind))
                runs.append((at, disk, deploys.run(disk.mount / "robot", action="kill", at=at)))
            time.sleep(LATER_S)  # what is waited for is the kernel's own commit
            for at, disk, told in runs:
                disk.cut()
                found = judge(disk, deploys, told)
                if found:
                    violations[at] = found
    print(f"{kind}, {LATER_S:g} s later: {len(points)} points, {len(violations)} violations")
    assert not violations


@pytest.mark.parametrize("later_s", [0.0, LATER_S])
def test_without_flushing_this_test_finds_what_is_lost(
    kind: str, image: Path, deploys: Deployer, tmp_path: Path, later_s: float
) -> None:
    with robot_on(image, tmp_path / "one", kind) as disk:
        told = deploys.run(disk.mount / "robot", unsafe=True)
        assert told.done
        time.sleep(later_s)
        disk.cut()
        disk.boot()
        found = wrongs(disk.mount / "robot", told)
    print(f"{kind}, no flush, {later_s:g} s later: {found}")
    assert found
