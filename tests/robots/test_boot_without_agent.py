"""A robot that boots with its agent masked and no network serves what it served, on its public ports."""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from agent_releases import agent_tests_folder
from robots_world import Machines
from supervised_robot import prepared

from lekiwi_deploy.agent.supervisors.systemd.boot_guard import LIMIT
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HttpCheck

sys.path.insert(0, str(agent_tests_folder()))
from agent_robot import web_code
from agent_server import AgentServer, web

PUBLIC = 8000
QUICKLY = (HttpCheck(path="/", interval_s=0.2),)
UNIT = """\
[Service]
ExecStart=/usr/local/bin/lekiwi-agent run --leave-services
Restart=always
KillMode=process
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def server(lan: Lan) -> Iterator[AgentServer]:
    server = AgentServer(lan.address)
    with lan.entered():
        server.start()
    yield server
    server.stop()


@pytest.fixture
def robot(machines: Machines, server: AgentServer) -> Machine:
    """Joined, with an agent that runs."""
    robot = prepared(machines("kiwi"))
    for name in ("agent.json", "robot.key"):
        robot.path(f"/etc/lekiwi/{name}").unlink()
    robot.write("/usr/lib/systemd/system/lekiwi-agent.service", UNIT)
    robot.boot()
    robot.run("lekiwi-agent", "join", server.url, "--token", server.join_token, "--insecure-http")
    robot.run("systemctl", "enable", "--now", "lekiwi-agent")
    return robot


def page(robot: Machine, lan: Lan) -> str | None:
    """What the service says to another machine."""
    with lan.entered():
        try:
            with urllib.request.urlopen(f"http://{robot.address}:{PUBLIC}/", timeout=2) as answer:
                said: str = answer.read().decode()
                return said
        except OSError:
            return None


def deploy(server: AgentServer, text: str) -> DeploymentRef:
    """And wait until it is good."""
    code = web_code(text).replace('"127.0.0.1"', '"0.0.0.0"')
    service = web(port=PUBLIC, content=text, health=QUICKLY, drain_s=1.0)
    ref = server.release({"web.py": code}, [service])
    server.want(ref)
    server.healthy(ref, good=True)
    return ref


def test_connections_reach_the_service_before_and_without_the_agent(
    robot: Machine, server: AgentServer, lan: Lan
) -> None:
    deploy(server, "one")
    assert page(robot, lan) == "one"
    deploy(server, "two")
    assert page(robot, lan) == "two"
    assert "traffic   nftables\n" in robot.run("lekiwi-agent", "status").stdout
    ports = robot.run("nft", "list", "map", "inet", "lekiwi", "ports").stdout
    led = re.findall(r"\d+ : \d+", ports)
    assert len(led) == 1
    eventually("it is kept for the boot", lambda: led[0] in robot.read("/etc/lekiwi/boot/current/traffic.nft"))
    robot.run("systemctl", "mask", "lekiwi-agent")
    robot.power_off()

    robot.boot()
    assert robot.run("systemctl", "is-active", "lekiwi-agent", check=False).stdout.strip() == "inactive"
    assert robot.run("nft", "list", "map", "inet", "lekiwi", "ports").stdout == ports
    eventually("it serves", lambda: page(robot, lan) == "two")
    robot.pull_the_plug()
    robot.boot()
    eventually("it serves after a power cut", lambda: page(robot, lan) == "two")

    robot.run("systemctl", "unmask", "lekiwi-agent")
    robot.run("systemctl", "start", "lekiwi-agent")
    deploy(server, "three")
    assert page(robot, lan) == "three"


def test_a_proven_version_that_takes_the_machine_down_at_its_start_is_broken_out_of(
    robot: Machine, server: AgentServer, lan: Lan
) -> None:
    deploy(server, "one")
    two = deploy(server, "two")
    starts = "/etc/lekiwi/boot/starts"
    eventually("it is what boots", lambda: two.id in robot.run("lekiwi-agent", "status").stdout and kept(robot))
    robot.power_off()
    assert not robot.path(starts).exists(), "an orderly end does not count"

    for number in range(
        1, LIMIT + 1
    ):  # the machine goes down as soon as the service runs, long before anybody could look
        robot.boot()
        eventually("it serves", lambda: page(robot, lan) == "two")
        assert robot.read(starts).strip() == str(number)
        robot.pull_the_plug()
    for _ in range(LIMIT):
        robot.boot()
        assert "lekiwi-web" not in robot.run("systemctl", "show", "-P", "Wants", "lekiwi.target").stdout
        eventually("the agent starts it, on trial", lambda: page(robot, lan) == "two")
        robot.pull_the_plug()
    robot.boot()
    eventually("the one before runs", lambda: page(robot, lan) == "one")
    report = server.outcome(two, "rolled_back")
    assert report.outcome is not None and report.outcome.why == f"started {LIMIT} times without becoming good"
    assert report.quarantined == (two.id,)


def kept(robot: Machine) -> bool:
    """Whether something is kept for the boot."""
    return "Wants=lekiwi-web" in robot.read("/etc/lekiwi/boot/current/services.conf")
