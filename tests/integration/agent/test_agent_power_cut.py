"""The plug is pulled: what was told to the server is still so, and the robot comes back by itself."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=4.0),)
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN; 2: write nothing more, not even the journal


class Disk:
    """An ext4 file system in a file, that can lose all that was not flushed."""

    def __init__(self, folder: Path) -> None:
        self.image, self.mount = folder / "image", folder / "mount"
        self.mount.mkdir()
        subprocess.run(["truncate", "-s", "64M", self.image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.attach()

    def attach(self) -> None:
        subprocess.run(["mount", "-o", "loop", self.image, self.mount], check=True, capture_output=True)

    def cut(self) -> None:
        """From now on nothing reaches it."""
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(fd)

    def boot(self) -> None:
        def detached() -> bool:
            return subprocess.run(["umount", self.mount], check=False, capture_output=True).returncode == 0

        eventually("nobody uses the disk any more", detached)
        self.attach()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("pulling the plug of a file system needs root")
    try:
        disk = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop device or no ext4 here: {error}")
    yield disk
    subprocess.run(["umount", "-l", disk.mount], check=False)


@pytest.mark.root
@pytest.mark.parametrize("told", ["wanted", "healthy", "good"])
def test_what_was_told_survives_a_power_cut(server: AgentServer, disk: Disk, tmp_path: Path, told: str) -> None:
    port = free_port()
    robot = AgentRobot(disk.mount / "robot", server)
    robot.output = tmp_path / "robot.log"
    waits: dict[str, Callable[[DeploymentRef], object]] = {
        "wanted": lambda ref: server.until(lambda: server.reports[-1].generation == 2, "it is on its way"),
        "healthy": server.healthy,
        "good": lambda ref: server.healthy(ref, good=True),
    }
    try:
        robot.join()
        robot.start()
        first, second = (
            server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY)])
            for text in ("one", "two")
        )
        server.want(first)
        server.healthy(first, good=True)
        server.want(second)
        waits[told](second)
        disk.cut()
        robot.end()
        disk.boot()
        current = robot.current()
        assert current in (first.id, second.id)
        assert (robot.root / "opt/lekiwi/deployments" / current / "code/web.py").stat().st_size > 100
        journal = robot.journal()
        assert journal["generation"] == 2
        if told != "wanted":
            assert (journal["live"], current) == (second.id, second.id)
        if told == "good":
            assert journal["slots"][second.id]["state"] == "good"
        robot.start()
        server.until(lambda: len(server.hellos) == 2, "it is back")
        server.healthy(second, good=True)
        assert body(port) == "two"
    finally:
        robot.end()
