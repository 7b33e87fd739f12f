"""The examples of docs/robot-contract.md, run as they stand there beside a real agent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from agent_robot import AgentRobot
from agent_server import AgentServer

CONTRACT = (Path(__file__).parents[3] / "docs/robot-contract.md").read_text()
NOT_NOW = CONTRACT.partition("## Not now")[2].partition("\n## ")[0]
ASKS = """
import json, subprocess, sys
def asks():
    done = subprocess.run([sys.executable, "-m", "lekiwi_deploy.agent", "holds", "--json"], capture_output=True, text=True)
    print(json.loads(done.stdout)["holds"])
drive = lower_the_arm = asks
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", NOT_NOW, re.M | re.S)


def variables(robot: AgentRobot) -> dict[str, str]:
    """As a service gets them; relative, because the path of a test's socket may be too long."""
    return robot.environment(
        LEKIWI_BUSY="run/lekiwi/busy", LEKIWI_HOLD="run/lekiwi/hold.sock", LEKIWI_ROOT=str(robot.root)
    )


def holds(robot: AgentRobot) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(robot.command("holds", "--json").stdout)["holds"]
    return found


@pytest.mark.parametrize(("number", "kind"), [(0, "lock"), (1, "tied")])
def test_the_examples_in_python_hold_while_they_work_and_not_after(
    server: AgentServer, robot: AgentRobot, number: int, kind: str
) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    done = subprocess.run(
        [sys.executable, "-c", ASKS + blocks("python")[number]],
        cwd=robot.root,
        env=variables(robot),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"'kind': '{kind}'" in done.stdout
    server.until(lambda: holds(robot) == [], "nothing is held any more")


def test_the_example_in_c_compiles_and_holds(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    (example,) = blocks("cpp")
    source = tmp_path / "drive.cpp"
    headers = "".join(f"#include <{name}>\n" for name in ("fcntl.h", "stdio.h", "stdlib.h", "sys/file.h", "unistd.h"))
    wait = 'void drive() { puts("driving"); fflush(stdout); getchar(); }\n'
    source.write_text(f"{headers}{wait}int main() {{\n{example}}}\n")
    subprocess.run(["cc", "-x", "c++", "-o", str(tmp_path / "drive"), str(source)], check=True)
    with subprocess.Popen(
        [tmp_path / "drive"], cwd=robot.root, env=variables(robot), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None and program.stdin is not None
        assert program.stdout.readline() == b"driving\n"
        (held,) = holds(robot)
        assert (held["kind"], held["owner"]) == ("lock", f"drive (pid {program.pid})")
        program.stdin.write(b"\n")
        program.stdin.close()
    assert holds(robot) == []


def test_the_example_in_shell_holds_until_the_script_ends(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    (example,) = blocks("sh")
    first = example.splitlines()[0]
    with subprocess.Popen(
        ["/bin/sh", "-c", f"{first}\necho driving\nread line"],
        cwd=robot.root,
        env=variables(robot),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None and program.stdin is not None
        assert program.stdout.readline() == b"driving\n"
        assert [held["kind"] for held in holds(robot)] == ["lock"]
        program.stdin.close()
    assert holds(robot) == []
