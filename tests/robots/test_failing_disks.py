"""A real robot on a small disk that fills up, and on one that makes itself read-only: it runs on, says why, and goes on later."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator

import pytest
from agent_releases import agent_tests_folder
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import install_agent
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.wire.link import DeploymentRef, Report
from lekiwi_deploy.wire.manifest import HttpCheck
from lekiwi_deploy.wire.reasons import DiskFailing, DiskFull, LowDisk

sys.path.insert(0, str(agent_tests_folder()))
from agent_robot import web_code
from agent_server import AgentServer, web

CHECKS = (HttpCheck(path="/", interval_s=0.2, within_s=10.0),)
PORT = 8000


class SmallRobot:
    """A robot on a disk of 300 MB, linked to a small server."""

    def __init__(self, machine: Machine, lan: Lan) -> None:
        self.machine = machine
        self.server = AgentServer(lan.address)
        install_agent(machine)
        machine.boot()
        with lan.entered():
            self.server.start()
        machine.run("lekiwi-agent", "join", self.server.url, "--token", "-", "--insecure-http", stdin="lkd_enr_test\n")
        machine.run("systemctl", "enable", "--now", "lekiwi-agent")
        self.server.until(lambda: self.server.linked, "linked")
        machine.run("sync")  # the installation was long ago

    def want(self, text: str, *, ballast: int = 0) -> DeploymentRef:
        """Want a release whose page says `text`, with so many bytes that nothing compresses."""
        files: dict[str, str | bytes] = {"web.py": web_code(text), "ballast": secrets.token_bytes(ballast)}
        ref = self.server.release(files, [web(port=PORT, content=text, health=CHECKS)])
        self.server.want(ref)
        return ref

    def waits_for(self, *kinds: type) -> Report:
        """Wait until the robot says that it waits for one of these."""

        def there() -> Report | None:
            report = self.server.reports[-1]
            return report if any(isinstance(reason, kinds) for reason in report.waiting) else None

        found: Report = self.server.until(there, f"it waits for {kinds}", within_s=40)
        return found

    def says(self) -> str:
        """What its page says to somebody on the robot."""
        ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/', timeout=5).read().decode())"
        return self.machine.run("python3", "-c", ask, check=False).stdout.strip()

    def agent(self) -> str:
        """Its process id."""
        return self.machine.run("systemctl", "show", "-P", "MainPID", "lekiwi-agent").stdout.strip()


@pytest.fixture
def robot(machines: Machines, lan: Lan) -> Iterator[SmallRobot]:
    robot = SmallRobot(machines("kiwi", disk=("ext4", 300)), lan)
    robot.server.healthy(robot.want("one"), good=True, within_s=40)
    yield robot
    robot.server.stop()


def test_on_a_full_disk_the_old_one_runs_the_reason_is_told_and_room_is_enough_to_go_on(robot: SmallRobot) -> None:
    assert robot.machine.disk is not None
    agent = robot.agent()
    hog = robot.machine.disk.fill(but_bytes=3 << 20)
    second = robot.want("two", ballast=8 << 20)
    report = robot.waits_for(DiskFull, LowDisk)
    assert report.running is not None and report.running.healthy
    assert robot.says() == "one"
    robot.machine.disk.fill()  # not a byte is left
    third = robot.want("three", ballast=8 << 20)
    robot.waits_for(DiskFull, LowDisk)
    assert (robot.says(), robot.agent()) == ("one", agent), "a full disk ended the agent or the service"
    hog.unlink()
    robot.server.healthy(third, good=True, within_s=90)
    assert (robot.says(), robot.agent()) == ("three", agent)
    assert second.id != third.id


def test_on_a_disk_that_became_read_only_the_old_one_runs_on_and_the_next_boot_goes_on(robot: SmallRobot) -> None:
    assert robot.machine.disk is not None
    agent = robot.agent()
    robot.machine.disk.fail()
    second = robot.want("two")
    robot.waits_for(DiskFailing)
    assert (robot.says(), robot.agent()) == ("one", agent)
    robot.machine.pull_the_plug()
    robot.machine.boot()
    robot.server.healthy(second, good=True, within_s=60)
    assert robot.says() == "two"
