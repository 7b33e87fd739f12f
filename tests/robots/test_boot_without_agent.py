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

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
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


def deploy(server: AgentServer, text: str) -> None:
    """And wait until it is good."""
    code = web_code(text).replace('"127.0.0.1"', '"0.0.0.0"')
    service = web(port=PUBLIC, content=text, health=QUICKLY, drain_s=1.0)
    ref = server.release({"web.py": code}, [service])
    server.want(ref)
    server.healthy(ref, good=True)


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
