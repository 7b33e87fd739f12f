"""Deployments that fail, and what the robot does about them by itself."""

from __future__ import annotations

import socket
from pathlib import Path

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef, TrialPolicy
from lekiwi_deploy.wire.manifest import CommandCheck, HttpCheck, ProcessCheck, Service, TcpCheck
from lekiwi_deploy.wire.reasons import Quarantined

QUICKLY = (HttpCheck(path="/", interval_s=0.1, retries=2, within_s=1.0),)
CRASHES = "import sys\nprint('no motors', flush=True)\nsys.exit(3)\n"


def running(server: AgentServer, robot: AgentRobot, port: int) -> DeploymentRef:
    """A good deployment that says "one"."""
    robot.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=QUICKLY)])
    server.want(first)
    server.healthy(first, good=True)
    return first


def test_a_service_that_exits_at_once_is_taken_back_with_its_last_words(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first = running(server, robot, port)
    bad = server.release({"web.py": CRASHES}, [web(port=port, content="2", health=QUICKLY)])
    server.want(bad)
    report = server.outcome(bad, "rolled_back")
    assert report.outcome is not None
    assert report.outcome.why == "web: exited with code 3, 3 times"
    assert report.outcome.log[-1] == "no motors"
    assert report.running is not None and report.running.deployment == first.id
    assert report.quarantined == (bad.id,)
    assert (body(port), robot.current()) == ("one", first.id)


def test_a_service_that_never_becomes_healthy_is_taken_back(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first = running(server, robot, port)
    bad = server.release({"web.py": web_code("bad", status=500)}, [web(port=port, content="2", health=QUICKLY)])
    server.want(bad)
    report = server.outcome(bad, "rolled_back")
    assert report.outcome is not None and report.outcome.why is not None
    assert "answered 500" in report.outcome.why
    server.healthy(first)
    assert body(port) == "one"


def test_what_failed_is_not_tried_again_except_by_force(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    port = free_port()
    first = running(server, robot, port)
    fixed = tmp_path / "fixed"
    checks = (CommandCheck(run=("test", "-e", str(fixed)), interval_s=0.1, within_s=1.0),)
    bad = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=checks)])
    server.want(bad)
    server.outcome(bad, "rolled_back")
    fixed.touch()
    generation = server.want(bad)

    def refused() -> bool:
        told = [reason for report in server.reports if report.generation == generation for reason in report.waiting]
        return any(isinstance(reason, Quarantined) and reason.deployment == bad.id for reason in told)

    server.until(refused, "it says why not")
    robot.kill()
    robot.start()
    server.healthy(first)
    assert (body(port), robot.current()) == ("one", first.id)
    server.want(bad, force=True)
    server.healthy(bad)
    eventually("it serves", lambda: body(port) == "two")


def test_it_goes_back_with_the_server_switched_off(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first = running(server, robot, port)
    checks = (HttpCheck(path="/", interval_s=0.1, within_s=2.0),)
    bad = server.release({"web.py": web_code("bad", status=500)}, [web(port=port, content="2", health=checks)])
    server.want(bad)
    server.until(lambda: robot.current() == bad.id, "it is switched to")
    server.stop()
    eventually("it went back", lambda: robot.current() == first.id and body(port) == "one")
    server.start()
    server.outcome(bad, "rolled_back")


def test_one_that_fails_in_its_trial_is_taken_back(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    port = free_port()
    first = running(server, robot, port)
    broken = tmp_path / "broken"
    checks = (CommandCheck(run=("test", "!", "-e", str(broken)), interval_s=0.1, retries=2),)
    second = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=checks)])
    server.want(second, policy=TrialPolicy(trial_s=60, checks="normal"))
    server.healthy(second)
    broken.touch()
    server.outcome(second, "rolled_back")
    server.healthy(first)
    assert body(port) == "one"


def test_without_rolling_back_it_is_left_as_it_is(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    running(server, robot, port)
    bad = server.release(
        {"web.py": web_code("bad")},
        [web(port=port, content="2", health=(HttpCheck(path="/", port=1, interval_s=0.1, within_s=0.3),))],
    )
    server.want(bad, policy=TrialPolicy(trial_s=0.2, roll_back=False))
    report = server.outcome(bad, "failed")
    assert report.quarantined == ()
    assert report.running is not None and not report.running.healthy
    assert robot.current() == bad.id
    eventually("whoever asks is led to it all the same", lambda: body(port) == "bad")


def test_the_very_first_one_that_fails_is_stopped(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    bad = server.release({"web.py": CRASHES}, [web(port=free_port(), health=QUICKLY)])
    server.want(bad)
    report = server.outcome(bad, "failed")
    assert report.running is None
    assert report.quarantined == (bad.id,)
    eventually("nothing runs", lambda: robot.processes() == [])
    good = server.release({"web.py": web_code("two")}, [web(port=free_port(), content="2", health=QUICKLY)])
    server.want(good)
    server.healthy(good)


def test_a_check_that_failed_before_causes_no_rollback(server: AgentServer, robot: AgentRobot) -> None:
    checks = (CommandCheck(run=("false",), interval_s=0.1, within_s=0.3),)

    def camera(content: str) -> Service:
        run = ("sleep", "1000")
        return Service(name="camera", run=run, content=content * 64, health=checks, stop_grace_s=0.5)

    robot.start()
    first = server.release({"data": "1"}, [camera("a")])
    server.want(first, policy=TrialPolicy(trial_s=0.2, roll_back=False))
    server.outcome(first, "failed")
    second = server.release({"data": "2"}, [camera("b")])
    server.want(second)
    report = server.outcome(second, "failed")
    assert report.outcome is not None and "as before this deployment" in (report.outcome.why or "")
    assert (report.quarantined, robot.current()) == ((), second.id)


def test_what_is_gone_back_to_may_be_unwell_too_and_runs_on(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    plugged = tmp_path / "plugged"
    plugged.touch()
    checks = (CommandCheck(run=("test", "-e", str(plugged)), interval_s=0.1, retries=1, within_s=0.4),)

    def camera(content: str) -> Service:
        run = ("sleep", "1000")
        return Service(name="camera", run=run, content=content * 64, health=checks, stop_grace_s=0.5)

    robot.start()
    first = server.release({"data": "1"}, [camera("a")])
    server.want(first)
    server.healthy(first, good=True)
    second = server.release({"data": "2"}, [camera("b"), Service(name="x", run=("false",), content="c" * 64)])
    plugged.unlink()
    server.want(second)
    report = server.outcome(second, "failed")
    assert report.outcome is not None and first.id in (report.outcome.why or "")
    assert report.running is not None and report.running.deployment == first.id
    assert len(eventually("the old camera runs", robot.processes)) == 1
    plugged.touch()
    server.healthy(first)


def test_a_service_that_dies_later_is_started_again(server: AgentServer, robot: AgentRobot) -> None:
    import os
    import signal

    port = free_port()
    running(server, robot, port)
    pid = server.reports[-1].services[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.until(
        lambda: (
            server.reports[-1].services[0].pid not in (None, pid) and server.reports[-1].services[0].state == "ready"
        ),
        "it was started again",
    )
    assert body(port) == "one"
    server.until(
        lambda: [e for e in server.events.values() if "was killed by SIGKILL" in e.text], "its end is in the history"
    )


def test_a_damaged_fallback_is_put_right_or_not_used(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first = running(server, robot, port)
    second = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    server.want(second)
    server.healthy(second, good=True)
    path = robot.root / f"opt/lekiwi/deployments/{first.id}/code/web.py"
    path.chmod(0o644)
    path.write_text("damaged")
    server.faults.status = 503
    bad = server.release({"web.py": CRASHES}, [web(port=port, content="3", health=QUICKLY)])
    server.faults.status = None
    server.want(bad)
    server.outcome(bad, "rolled_back")
    assert body(port) == "two"
    server.want(first)
    server.healthy(first)
    assert body(port) == "one"


def test_a_process_check_alone_takes_its_time(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    service = Service(name="base", run=("sleep", "1000"), content="a" * 64, health=(ProcessCheck(settle_s=0.3),))
    ref = server.release({"data": "1"}, [service])
    server.want(ref)
    report = server.healthy(ref)
    assert report.outcome is not None and report.outcome.switch_ms is not None
    assert report.outcome.result == "healthy"


def test_a_port_that_another_program_has_is_named(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    first = running(server, robot, port)
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        bad = server.release({"web.py": web_code("bad")}, [web(port=taken, content="2", health=QUICKLY)])
        server.want(bad)
        report = server.outcome(bad, "rolled_back")
    assert report.outcome is not None and report.outcome.why is not None
    assert f"listens on port {taken} already" in report.outcome.why
    server.healthy(first)
    assert body(port) == "one"


def test_an_answer_of_another_program_on_its_port_is_not_its_health(server: AgentServer, robot: AgentRobot) -> None:
    """A service that is stopped and started has its port for itself."""
    robot.start()
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        deaf = "import time\nwhile True: time.sleep(60)\n"
        checks = (TcpCheck(interval_s=0.1, within_s=1.0),)
        bad = server.release({"web.py": deaf}, [web(port=taken, exclusive="camera", health=checks)])
        server.want(bad)
        report = server.outcome(bad, "failed")
    assert report.outcome is not None and report.outcome.why is not None
    assert f"port {taken} is answered by another program" in report.outcome.why
