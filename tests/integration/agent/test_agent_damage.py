"""Files on the robot's disk are damaged: found, told, put right, and never started meanwhile."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=3.0),)


def rot(path: Path) -> None:
    """A bit flips on the disk: neither size nor times change."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def slot(robot: AgentRobot, ref: DeploymentRef, file: str = "web.py") -> Path:
    return robot.root / f"opt/lekiwi/deployments/{ref.id}/code/{file}"


def told(server: AgentServer, kind: str) -> list[str]:
    return [server.events[number].text for number in sorted(server.events) if server.events[number].kind == kind]


def two_releases(server: AgentServer, robot: AgentRobot, port: int) -> tuple[DeploymentRef, DeploymentRef]:
    """Both good, the second is live; they share `lib.py`."""
    made = [
        server.release(
            {"web.py": web_code(text), "lib.py": "shared = 1\n"}, [web(port=port, content=text, health=QUICKLY)]
        )
        for text in ("one", "two")
    ]
    for ref in made:
        server.want(ref)
        server.healthy(ref, good=True)
    return made[0], made[1]


def test_a_flipped_bit_in_what_runs_and_in_its_fallback_is_found_and_healed(
    server: AgentServer, robot: AgentRobot
) -> None:
    robot.start(LEKIWI_SCRUB_S="0.2")
    first, second = two_releases(server, robot, free_port())
    pid = server.healthy(second).services[0].pid
    rot(slot(robot, second, "lib.py"))
    server.until(lambda: told(server, "damaged"), "it is found")
    for ref in (second, first):
        server.until(lambda ref=ref: slot(robot, ref, "lib.py").read_text() == "shared = 1\n", f"{ref.id} is healed")
    server.until(lambda: told(server, "repaired"), "it tells that it is repaired")
    assert server.healthy(second).services[0].pid == pid, "what runs was disturbed"
    damaged = list((robot.root / "opt/lekiwi/objects/damaged").iterdir())
    assert len(damaged) == 1 and damaged[0].read_text() != "shared = 1\n"


def test_a_damaged_fallback_is_fetched_again_before_it_is_needed(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start(LEKIWI_SCRUB_S="0.2")
    first, second = two_releases(server, robot, port)
    rot(slot(robot, first))
    server.until(lambda: slot(robot, first).exists() and slot(robot, first).read_text() == web_code("one"), "healed")
    assert server.healthy(second)
    server.stop()
    done = robot.command("rollback", "--json")
    assert done.returncode == 0, done.stderr
    assert body(port) == "one"


def test_a_service_is_not_started_again_out_of_damaged_files(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    _, second = two_releases(server, robot, port)
    report = server.healthy(second)
    path = slot(robot, second)
    path.chmod(0o644)
    path.write_text(web_code("mad"))
    assert report.services[0].pid is not None
    os.kill(report.services[0].pid, signal.SIGKILL)
    server.until(lambda: told(server, "damaged"), "it is found")
    eventually("it serves again", lambda: body(port))
    assert body(port) == "two"
    assert path.read_text() == web_code("two")
    assert "mad" not in server.texts("web")


def test_with_no_server_a_removed_file_is_put_back_out_of_the_store(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    _, second = two_releases(server, robot, port)
    report = server.healthy(second)
    server.stop()
    slot(robot, second).unlink()
    assert report.services[0].pid is not None
    os.kill(report.services[0].pid, signal.SIGKILL)
    eventually("it serves again", lambda: body(port) == "two")
    assert robot.current() == second.id


def test_with_no_server_what_ran_before_stands_in_for_damaged_files(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first, second = two_releases(server, robot, port)
    report = server.healthy(second)
    server.stop()
    path = slot(robot, second)
    path.chmod(0o644)
    path.write_text("this is no Python (")
    assert report.services[0].pid is not None
    os.kill(report.services[0].pid, signal.SIGKILL)
    eventually("the one before serves", lambda: body(port) == "one")
    assert robot.current() == first.id
    server.start()
    server.until(lambda: body(port) == "two", "it is back on what is wanted")
    server.healthy(second, good=True)
    assert path.read_text() == web_code("two")
