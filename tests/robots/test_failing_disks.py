"""A real robot on a small disk that fills up, and on one that makes itself read-only: it runs on, says why, and goes on later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from robots_world import Machines
from small_robot import SmallRobot

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.wire.reasons import DiskFailing, DiskFull, LowDisk


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
