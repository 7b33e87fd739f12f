"""`lekiwi-agent` as a person on the robot types it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef, Refused
from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=3.0),)


def two_good(server: AgentServer, robot: AgentRobot, port: int) -> list[DeploymentRef]:
    robot.start()
    refs = [
        server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY)])
        for text in ("one", "two")
    ]
    for ref in refs:
        server.want(ref)
        server.healthy(ref, good=True)
    return refs


def test_joining_makes_a_key_that_only_its_owner_reads(server: AgentServer, robot: AgentRobot) -> None:
    key = robot.root / "etc/lekiwi/robot.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    config = json.loads((robot.root / "etc/lekiwi/agent.json").read_text())
    assert (config["server"], config["robot"], config["environment"]) == (server.url, "lekiwi-001", "production")


def test_a_join_token_works_once(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    other = AgentRobot(tmp_path / "other", server)
    done = other.command("join", server.url, "--token", server.join_token)
    assert done.returncode == 3
    assert "it was used, or it has expired" in done.stderr
    assert "lekiwi robots add" in done.stderr
    assert not (other.root / "etc/lekiwi/robot.key").exists()


def test_joining_twice_says_where_it_belongs(server: AgentServer, robot: AgentRobot) -> None:
    done = robot.command("join", server.url, "--token", "x")
    assert done.returncode == 9
    assert "lekiwi-001" in done.stderr and "--again" in done.stderr


def test_plain_http_across_a_network_needs_a_flag(server: AgentServer, tmp_path: Path) -> None:
    robot = AgentRobot(tmp_path / "robot", server)
    done = robot.command("join", "http://192.0.2.1:8000", "--token", "x")
    assert done.returncode == 3
    assert "--insecure-http" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_root_that_never_joined_says_so(server: AgentServer, tmp_path: Path) -> None:
    robot = AgentRobot(tmp_path / "robot", server)
    for command in (["run"], ["status"], ["rollback"], ["resume"]):
        done = robot.command(*command)
        assert done.returncode == 4, command
        assert "never joined" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_second_agent_on_the_same_root_is_told(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "the first runs")
    done = robot.command("run")
    assert done.returncode == 9
    assert robot.process is not None and str(robot.process.pid) in done.stderr


def test_status_says_what_runs_and_how_it_is(server: AgentServer, robot: AgentRobot) -> None:
    refs = two_good(server, robot, free_port())
    status = robot.status()
    assert status["report"]["running"]["deployment"] == refs[1].id
    assert status["report"]["running"]["healthy"] is True
    assert (status["linked"], status["robot"]) == (True, "lekiwi-001")
    assert {held["id"]: held["state"] for held in status["deployments"]} == {refs[0].id: "good", refs[1].id: "good"}
    text = robot.command("status").stdout
    assert f"running   {refs[1].id}  {refs[1].version}  healthy, good" in text
    assert "web              ready" in text


def test_without_an_agent_status_says_how_to_start_it(server: AgentServer, robot: AgentRobot) -> None:
    done = robot.command("status", "--json")
    assert done.returncode == 1
    assert "no agent runs" in done.stderr and "lekiwi-agent run" in done.stderr
    assert json.loads(done.stdout)["code"] == "unavailable"


def test_rollback_works_without_a_network_and_pins(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first, second = two_good(server, robot, port)
    server.stop()
    done = robot.command("rollback", "--reason", "it wobbles")
    assert done.returncode == 0, done.stderr
    assert f"{second.id} -> {first.id}" in done.stdout
    assert "undo: lekiwi-agent resume" in done.stderr
    assert (body(port), robot.current()) == ("one", first.id)
    server.start()
    report = server.healthy(first)
    assert report.pin is not None
    assert (report.pin.deployment, report.pin.why) == (first.id, "it wobbles")
    server.until(lambda: type(server.reports[-1].waiting[:1][0]).__name__ == "Pinned", "the pin is the reason")
    server.want(second)
    robot.kill()
    robot.start()
    server.until(lambda: len(server.hellos) >= 3, "it is back")
    assert body(port) == "one"
    done = robot.command("resume")
    assert done.returncode == 0
    server.healthy(second)
    assert body(port) == "two"
    again = robot.command("resume")
    assert again.returncode == 9 and "not pinned" in again.stderr


def test_rollback_goes_to_what_is_named(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first, second = two_good(server, robot, port)
    for name in (first.id, first.version):
        done = robot.command("rollback", "--to", name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["deployment"] == first.id
    assert body(port) == "one"
    missing = robot.command("rollback", "--to", "dep_nothing1")
    assert missing.returncode == 4
    ambiguous = robot.command("rollback", "--to", "dep_0000")
    assert ambiguous.returncode == 4 and second.id in ambiguous.stderr
    none = robot.command("rollback")
    assert none.returncode == 4 and "no earlier good deployment" in none.stderr


def test_a_newer_deployment_ends_a_pin(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    two_good(server, robot, port)
    assert robot.command("rollback").returncode == 0
    third = server.release({"web.py": web_code("three")}, [web(port=port, content="3", health=QUICKLY)])
    server.want(third)
    report = server.healthy(third)
    assert report.pin is None


def test_rollback_works_without_an_agent(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first, _ = two_good(server, robot, port)
    robot.kill()
    assert body(port) == "two"
    done = robot.command("rollback")
    assert done.returncode == 0, done.stderr
    assert "done without an agent" in done.stderr
    assert (body(port), robot.current()) == ("one", first.id)
    robot.start()
    report = server.healthy(first)
    assert report.pin is not None
    eventually("only one version runs", lambda: len(robot.awake()) == 1)


def test_a_rollback_that_fails_says_what_runs_instead(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    port = free_port()
    flag = tmp_path / "ok"
    flag.touch()
    from lekiwi_deploy.wire.manifest import CommandCheck

    checks = (CommandCheck(run=("test", "-e", str(flag)), interval_s=0.1, within_s=0.4),)
    robot.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=checks)])
    second = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    for ref in (first, second):
        server.want(ref)
        server.healthy(ref, good=True)
    flag.unlink()
    done = robot.command("rollback")
    assert done.returncode == 5
    assert "failed" in done.stdout and second.id in done.stdout
    eventually("the other one runs again", lambda: body(port) == "two")


def test_a_refused_robot_says_why_and_goes_on(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    refs = two_good(server, robot, port)
    server.faults.refuse = Refused(code="not_allowed", message="two machines use this robot's key", retry=True)
    server.cut_links()
    eventually("it says so", lambda: "two machines" in robot.status()["link"])
    assert body(port) == "two"
    assert robot.status()["linked"] is False
    server.faults.refuse = None
    server.until(lambda: server.linked, "it is welcome again")
    server.healthy(refs[1])


def test_the_socket_is_for_the_agents_user_only(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "it runs")
    assert stat.S_IMODE((robot.root / "run/lekiwi/agent.sock").stat().st_mode) == 0o660


def test_a_long_root_folder_is_no_obstacle(server: AgentServer, tmp_path: Path) -> None:
    robot = AgentRobot(tmp_path / ("long" * 30) / "robot", server)
    robot.root.parent.mkdir()
    robot.output = tmp_path / "log"
    try:
        robot.join()
        robot.start()
        server.until(lambda: server.linked, "it runs")
        assert robot.status()["robot"] == "lekiwi-001"
    finally:
        robot.end()


def test_version_and_help(server: AgentServer, robot: AgentRobot) -> None:
    import subprocess
    import sys

    run = [sys.executable, "-m", "lekiwi_deploy.agent"]
    done = subprocess.run([*run, "version", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema"] == "lekiwi.version/1"
    help_ = subprocess.run([*run, "run", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--leave-services" in help_
    wrong = subprocess.run([*run, "fly"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert os.path.basename(sys.executable)  # noqa: PTH119
