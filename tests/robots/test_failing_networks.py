"""A real robot whose network goes: in the middle of a switch, one way only, or with every third packet lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from robots_world import Machines
from small_robot import SmallRobot

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually

TABLE = """
table inet faulty {{
    chain incoming {{
        type filter hook input priority 0
        iifname != "lo" {rule}
    }}
}}
"""
EVERY_THIRD = "numgen random mod 100 < 30 drop"


@pytest.fixture
def robot(machines: Machines, lan: Lan) -> Iterator[SmallRobot]:
    robot = SmallRobot(machines("kiwi"), lan)
    robot.server.healthy(robot.want("one"), good=True, within_s=40)
    yield robot
    robot.server.stop()


def drop(rule: str, *ways_in: list[str]) -> None:
    """From now on what comes in is dropped where `rule` says so; `ways_in`: how to get into each end."""
    for way_in in ways_in:
        subprocess.run([*way_in, "nft", TABLE.format(rule=rule)], check=True)


def drop_no_more(*ways_in: list[str]) -> None:
    for way_in in ways_in:
        subprocess.run([*way_in, "nft", "delete table inet faulty"], check=True)


def on(robot: SmallRobot) -> list[str]:
    return ["ip", "netns", "exec", robot.machine.label]


def test_a_cable_pulled_in_mid_switch_stops_neither_the_switch_nor_the_way_back(robot: SmallRobot) -> None:
    second = robot.want("two")
    here = robot.machine.path(f"/opt/lekiwi/deployments/{second.id}")
    eventually("it is here", here.exists, every_s=0.001)
    robot.machine.network_down()
    eventually("it runs the new one", lambda: robot.says() == "two")
    eventually("it can go back", lambda: robot.machine.run("lekiwi-agent", "rollback", check=False).returncode == 0)
    assert robot.says() == "one"
    robot.machine.run("lekiwi-agent", "resume")
    robot.machine.network_up()
    robot.server.healthy(second, good=True, within_s=60)

    def told() -> list[str]:
        return [robot.server.events[number].kind for number in sorted(robot.server.events)]

    robot.server.until(lambda: {"pinned", "resumed"} <= set(told()), "what it did while it was alone is told")
    assert told().index("pinned") < told().index("resumed")


def test_with_every_third_packet_lost_both_ways_a_release_arrives(robot: SmallRobot, lan: Lan) -> None:
    drop(EVERY_THIRD, on(robot), lan.command([]))
    second = robot.want("two", ballast=100_000)
    robot.server.healthy(second, good=True, within_s=180)
    drop_no_more(on(robot), lan.command([]))
    assert robot.says() == "two"


def test_a_robot_that_is_heard_and_hears_nothing_runs_on_and_converges_when_it_hears(robot: SmallRobot) -> None:
    drop("drop", on(robot))
    second = robot.want("two")
    robot.machine.run("pkill", "-9", "-f", "web.py")
    eventually("its service is started again", lambda: robot.says() == "one")
    assert robot.server.reports[-1].generation == 1
    drop_no_more(on(robot))
    robot.server.healthy(second, good=True, within_s=90)
