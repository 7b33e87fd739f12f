"""Saying "not now" to a real agent: leases, locks, and what ends them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef, Phase, Report, TrialPolicy
from lekiwi_deploy.wire.manifest import HttpCheck
from lekiwi_deploy.wire.reasons import Busy

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=5.0),)


def release(server: AgentServer, port: int, text: str) -> DeploymentRef:
    return server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY)])


def running(server: AgentServer, robot: AgentRobot, port: int) -> DeploymentRef:
    """One release, live and good."""
    robot.start()
    ref = release(server, port, "one")
    server.want(ref)
    server.healthy(ref, good=True)
    return ref


def waits(server: AgentServer, count: int = 1) -> Report:
    """Wait until the robot reports so many holds that it waits for."""

    def there() -> Report | None:
        if not server.reports:
            return None
        report = server.reports[-1]
        found = [reason for reason in report.waiting if isinstance(reason, Busy)]
        return report if len(found) == count and report.phase is Phase.WAITING else None

    report: Report = server.until(there, f"{count} holds are reported")
    return report


def hold(robot: AgentRobot, *arguments: str) -> dict[str, Any]:
    done = robot.command("hold", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["hold"]
    return found


class Desk:
    """A program that talks to hold.sock itself."""

    def __init__(self, robot: AgentRobot) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        folder = os.open(robot.root / "run/lekiwi", os.O_RDONLY)
        self.socket.connect(f"/proc/self/fd/{folder}/hold.sock")
        os.close(folder)
        self.file = self.socket.makefile("rwb")

    def ask(self, **request: Any) -> dict[str, Any]:
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        answer: dict[str, Any] = json.loads(self.file.readline())
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def locking(robot: AgentRobot, *program: str) -> subprocess.Popen[bytes]:
    """`lekiwi-agent hold … -- PROGRAM`"""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "lekiwi_deploy.agent", "hold", "--root", str(robot.root)),
            *("--reason", "calibration", "--owner", "ben", "--", *program),
        ],
        stdout=subprocess.PIPE,
    )


def test_a_held_robot_fetches_and_does_not_switch_until_it_is_released(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    one = running(server, robot, port)
    held = hold(robot, "--reason", "teleop", "--for", "20m", "--owner", "anna")
    two = release(server, port, "two")
    server.want(two)
    (reason,) = waits(server).waiting
    assert isinstance(reason, Busy)
    assert (reason.owner, reason.why, reason.id) == ("anna", "teleop", held["id"])
    assert reason.until is not None and (reason.until - reason.since).total_seconds() == 1200
    assert robot.current() == one.id and body(port) == "one"
    assert (robot.root / "opt/lekiwi/deployments" / two.id / "code/web.py").exists()
    said = robot.command("why").stdout
    assert "teleop: held by anna until" in said and f"lekiwi-agent release {held['id']} on lekiwi-001" in said
    done = robot.command("release", held["id"])
    assert (done.returncode, done.stdout.strip()) == (0, f"released {held['id']}")
    server.healthy(two)
    assert server.reports[-1].waiting == ()
    kinds = [event.kind for _, event in sorted(server.events.items())]
    assert kinds.index("held") < kinds.index("released")


def test_a_hold_that_runs_out_lets_the_switch_happen_by_itself(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    hold(robot, "--reason", "teleop", "--for", "1.5s")
    two = release(server, port, "two")
    server.want(two)
    waits(server)
    server.healthy(two, within_s=5)


def test_a_hold_survives_the_kill_of_the_agent(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    one = running(server, robot, port)
    held = hold(robot, "--reason", "teleop", "--for", "20m")
    robot.kill()
    two = release(server, port, "two")
    server.want(two)
    robot.start()
    (reason,) = waits(server).waiting
    assert isinstance(reason, Busy) and reason.id == held["id"]
    assert robot.current() == one.id
    assert robot.command("release", "--all").returncode == 0
    server.healthy(two)


def test_a_hold_around_a_command_dies_with_it_even_by_kill_9(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    holder = locking(robot, "/bin/sh", "-c", "echo here; exec sleep 600")
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"here\n"
        two = release(server, port, "two")
        server.want(two)
        (reason,) = waits(server).waiting
        assert isinstance(reason, Busy)
        assert (reason.owner, reason.why, reason.until) == (f"ben (pid {holder.pid})", "calibration", None)
        refused = robot.command("release", f"p{holder.pid}")
        assert refused.returncode == 9 and "ends with the process" in refused.stderr
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    server.healthy(two, within_s=5)


def test_a_lock_that_a_shell_took_by_a_program_that_is_gone_is_found_and_named(
    server: AgentServer, robot: AgentRobot
) -> None:
    port = free_port()
    running(server, robot, port)
    script = f"exec 9<{robot.root}/run/lekiwi/busy; flock -s 9; echo here; exec sleep 600"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"here\n"
            server.want(release(server, port, "two"))
            (reason,) = waits(server).waiting
            assert isinstance(reason, Busy) and reason.owner == f"sleep (pid {holder.pid})"
        finally:
            holder.kill()


def test_a_hold_needs_no_running_agent_when_it_lasts_for_a_command(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    robot.kill()
    holder = locking(robot, "/bin/sh", "-c", "echo here; exec sleep 600")
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"here\n"
        two = release(server, port, "two")
        server.want(two)
        robot.start()
        waits(server)
    finally:
        holder.kill()
        holder.communicate()
    server.healthy(two)


def test_a_lease_that_is_tied_to_a_connection_ends_with_it(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    two = release(server, port, "two")
    with closing(Desk(robot)) as desk:
        answer = desk.ask(ask="hold", reason="carrying a cup", tied=True)
        assert answer["answer"] == "lease" and answer["left_s"] is None
        assert desk.ask(ask="list")["holds"][0]["kind"] == "tied"
        server.want(two)
        waits(server)
    server.healthy(two, within_s=5)


def test_a_program_takes_renews_and_releases_over_one_connection(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    with closing(Desk(robot)) as desk:
        first = desk.ask(ask="hold", reason="task", for_s=5)["hold"]["id"]
        assert desk.ask(ask="renew", id=first, for_s=50)["left_s"] == 50
        assert desk.ask(ask="release", id=first) == {
            "answer": "released",
            "ids": [first],
            "schema": "lekiwi.released/1",
        }
        assert desk.ask(ask="renew", id=first, for_s=50)["code"] == "not_found"
        assert desk.ask(ask="hold", reason="task", for_s=10**9)["code"] == "bad_input"
        assert desk.ask(ask="hold", reason="", for_s=10)["code"] == "bad_input"
        assert desk.ask(ask="dance")["code"] == "bad_input"
        assert desk.ask(ask="list")["holds"] == []


def test_a_service_holds_under_its_own_name(server: AgentServer, robot: AgentRobot) -> None:
    code = """
import json, os, pathlib, socket, threading
assert pathlib.Path(os.environ["LEKIWI_BUSY"]).exists()
desk = socket.socket(socket.AF_UNIX)
folder = os.open(os.path.dirname(os.environ["LEKIWI_HOLD"]), os.O_RDONLY)
desk.connect(f"/proc/self/fd/{folder}/hold.sock")
desk.sendall(json.dumps({"ask": "hold", "reason": "arm is up", "tied": True}).encode() + b"\\n")
print("answer", json.loads(desk.makefile().readline())["hold"]["owner"], flush=True)
threading.Event().wait()
"""
    robot.start()
    ref = server.release({"arm.py": code}, [web("arm", port=free_port(), code="arm.py")])
    server.want(ref)
    server.until(lambda: "answer arm" in server.texts("arm"), "the service says who it is to the agent")
    (held,) = json.loads(robot.command("holds", "--json").stdout)["holds"]
    assert (held["owner"], held["reason"], held["kind"]) == ("arm", "arm is up", "tied")


def test_holds_are_told_oldest_first_and_the_newest_keeps_the_switch_off_alone(
    server: AgentServer, robot: AgentRobot
) -> None:
    port = free_port()
    running(server, robot, port)
    ids = [hold(robot, "--reason", reason, "--for", "5m")["id"] for reason in ("teleop", "demo")]
    two = release(server, port, "two")
    server.want(two)
    report = waits(server, 2)
    assert [reason.id for reason in report.waiting if isinstance(reason, Busy)] == ids
    robot.command("release", ids[0])
    (left,) = waits(server, 1).waiting
    assert isinstance(left, Busy) and left.why == "demo"
    robot.command("release", ids[1])
    server.healthy(two)


def test_force_switches_over_a_hold_and_tells_what_it_overrode(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    hold(robot, "--reason", "teleop", "--for", "20m", "--owner", "anna")
    two = release(server, port, "two")
    server.want(two, force=True)
    server.healthy(two)
    server.until(lambda: any(event.kind == "overridden" for event in server.events.values()), "it is told")
    (event,) = [event for event in server.events.values() if event.kind == "overridden"]
    assert event.deployment == two.id and "teleop: held by anna" in event.text


def test_force_sent_while_it_waits_ends_the_wait(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    hold(robot, "--reason", "teleop", "--for", "20m")
    two = release(server, port, "two")
    server.want(two)
    waits(server)
    server.want(two, force=True)
    server.healthy(two)


def test_a_rollback_on_the_robot_waits_for_nobody(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    one = running(server, robot, port)
    two = release(server, port, "two")
    server.want(two)
    server.healthy(two, good=True)
    hold(robot, "--reason", "teleop", "--for", "20m")
    done = robot.command("rollback")
    assert done.returncode == 0, done.stderr
    assert body(port) == "one" and robot.current() == one.id


def test_a_rollback_by_the_server_to_one_robot_waits_as_a_deployment_does(
    server: AgentServer, robot: AgentRobot
) -> None:
    port = free_port()
    one = running(server, robot, port)
    two = release(server, port, "two")
    server.want(two)
    server.healthy(two, good=True)
    held = hold(robot, "--reason", "teleop", "--for", "20m")
    server.want(one, by_hand=True)
    waits(server)
    assert body(port) == "two"
    robot.command("release", held["id"])
    server.healthy(one)


def test_a_service_that_fails_its_trial_is_taken_back_whatever_is_held(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    port = free_port()
    one = running(server, robot, port)
    sick = web_code("two").replace("status = 200", "status = 500 if os.path.exists(SICK) else 200")
    sick = f"SICK = {str(tmp_path / 'sick')!r}\n" + sick
    two = server.release(
        {"web.py": sick},
        [web(port=port, content="two", health=(HttpCheck(path="/", interval_s=0.1, retries=1, within_s=5),))],
    )

    server.want(two, policy=TrialPolicy(checks="normal", trial_s=600))
    server.healthy(two)
    hold(robot, "--reason", "teleop", "--for", "20m")
    (tmp_path / "sick").touch()
    server.outcome(two, "rolled_back")
    assert robot.current() == one.id


def test_a_damaged_book_is_put_aside_and_told(server: AgentServer, robot: AgentRobot) -> None:
    book = robot.root / "var/lib/lekiwi-agent/holds.json"
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_text("{nonsense")
    robot.start()
    server.until(lambda: any("holds.json is damaged" in e.text for e in server.events.values()), "it is told")
    assert book.with_name("holds.json.damaged").exists()
    hold(robot, "--reason", "teleop", "--for", "20m")


def test_status_shows_holds_that_nothing_waits_for_yet(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    held = hold(robot, "--reason", "teleop", "--for", "20m", "--owner", "anna")
    said = robot.command("status").stdout
    assert "hold      teleop: held by anna until" in said and held["id"] in said
    assert "the next deployment will wait: teleop" in robot.command("why").stdout
    table = robot.command("holds").stdout
    assert table.splitlines()[0].split() == ["ID", "OWNER", "SINCE", "UNTIL", "REASON"] and "anna" in table


def test_what_cannot_be_is_said_plainly(server: AgentServer, robot: AgentRobot) -> None:
    for arguments, code, text in (
        (("hold", "--reason", "x"), 2, "for how long"),
        (("hold", "--for", "5m"), 2, "say why"),
        (("hold", "--reason", "x", "--for", "soon"), 2, "not a time span"),
        (("hold", "--reason", "x", "--for", "5m"), 1, "no agent runs"),
        (("hold", "--reason", "x", "--", "/no/such/program"), 4, "no program"),
        (("holds",), 1, "no agent runs"),
        (("release",), 2, "--all"),
        (("why",), 1, "no agent runs"),
    ):
        if "--" in arguments:
            arguments = (*arguments[:-2], "--root", str(robot.root), *arguments[-2:])
            done = subprocess.run(
                [sys.executable, "-m", "lekiwi_deploy.agent", *arguments], capture_output=True, text=True, check=False
            )
        else:
            done = robot.command(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert text in done.stderr and "Traceback" not in done.stderr, (arguments, done.stderr)
    eventually("nothing runs", lambda: not robot.processes())
