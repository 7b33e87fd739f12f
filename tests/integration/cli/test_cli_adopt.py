"""`lekiwi robots adopt` up to the machine's door; what happens behind it, tests/robots tries."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cli_said import Lekiwi
from scripted_server import Answer, ScriptedServer

from lekiwi_deploy.wire.agents import AgentRelease
from lekiwi_deploy.wire.api import Project, RobotJoin, ServerInfo
from lekiwi_deploy.wire.ids import ProjectName, RobotId

AWAY = ("--url", "http://10.83.0.1:8080", "--insecure-http", "--group", "production", "--yes")


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port that nobody listens on, and nobody else takes meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield str(taken.getsockname()[1])


@pytest.fixture(autouse=True)
def knows(server: ScriptedServer) -> None:
    server.on("GET", "/api/server", ServerInfo(server="srv_1", version="0.1.0", protocol=1))
    project = Project(name=ProjectName("kiwi"), created_at=datetime.now(UTC), git="", environments=())
    server.on("GET", "/api/projects/kiwi", project)


def test_an_address_that_means_the_robot_itself_is_refused(anna: Lekiwi) -> None:
    ran = anna("robots", "adopt", "pi@10.83.0.10", "--group", "production")
    assert ran.code == 2
    assert "would lead a robot to itself" in ran.err
    assert "--url" in ran.err


def test_plain_http_across_a_network_has_to_be_meant(anna: Lekiwi) -> None:
    ran = anna("robots", "adopt", "pi@10.83.0.10", "--group", "production", "--url", "http://10.83.0.1:8080")
    assert ran.code == 3
    assert "add --insecure-http" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pi@a", "pi@a", *AWAY), "named twice"),
        (("pi@a", "pi@b", "--name", "x", *AWAY), "--name is for one machine"),
        (("-oProxyCommand=x", *AWAY), "Missing argument"),
        (("pi@a:/tmp", *AWAY), "is no machine"),
        (("pi@a",), "which group do they belong to?"),
    ],
)
def test_what_can_never_work_is_told_before_anybody_is_spoken_to(
    anna: Lekiwi, arguments: tuple[str, ...], words: str
) -> None:
    ran = anna("robots", "adopt", *arguments)
    assert ran.code == 2
    assert words in ran.err


def test_a_machine_without_ssh_says_what_to_do(anna: Lekiwi, closed_port: str) -> None:
    ran = anna("robots", "adopt", "pi@127.0.0.1", "--port", closed_port, *AWAY)
    assert ran.code == 1
    assert "takes no SSH connections on this port" in ran.err
    assert "raspi-config" in ran.err


def test_of_several_each_failure_is_told_and_the_exit_code_says_partial(anna: Lekiwi, closed_port: str) -> None:
    ran = anna("robots", "adopt", "pi@127.0.0.1", "pi@127.0.0.2", "--port", closed_port, *AWAY, "--json")
    assert ran.code == 6
    told = json.loads(ran.out)
    assert [(robot["target"], robot["code"]) for robot in told["robots"]] == [
        ("pi@127.0.0.1", "unavailable"),
        ("pi@127.0.0.2", "unavailable"),
    ]
    assert "0 robots of 2 adopted" in ran.err


def test_robots_add_prints_how_to_install_with_the_digest_of_what_is_installed(
    anna: Lekiwi, server: ScriptedServer
) -> None:
    join = RobotJoin(
        robot=RobotId("kiwi-1"),
        token="lkd_enr_x",
        expires_at=datetime.now(UTC) + timedelta(minutes=15.5),
        command="lekiwi-agent join http://10.83.0.1:8080 --token lkd_enr_x",
        url="http://10.83.0.1:8080",
    )
    server.on("POST", "/api/projects/kiwi/robots", Answer(join, 201))
    server.on("GET", "/agent", AgentRelease(release="0.1.0-ab", version="0.1.0", lock="ab" * 32))
    ran = anna("robots", "add", "kiwi-1", "--group", "production", "--insecure-http")
    assert ran.out == f"{join.command}\n", "the data is the one line that it always was"
    line = next(line for line in ran.err.splitlines() if line.startswith("curl "))
    assert line == (
        "curl -fsSL http://10.83.0.1:8080/install.sh | sudo sh -s -- --token lkd_enr_x "
        f"--sha256 {'ab' * 32} --insecure-http"
    )
