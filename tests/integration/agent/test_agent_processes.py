"""What services do to whoever supervises them."""

from __future__ import annotations

import os
import time

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.manifest import CommandCheck, HttpCheck, ProcessCheck, Service

ALIVE = (ProcessCheck(settle_s=0.0),)


def python(name: str, code: str, *, content: str = "a", grace: float = 0.5) -> tuple[dict[str, str], Service]:
    run = ("python3", "-u", f"{name}.py")
    return {f"{name}.py": code}, Service(name=name, run=run, content=content * 64, health=ALIVE, stop_grace_s=grace)


def test_one_that_ignores_sigterm_is_killed_after_its_grace(server: AgentServer, robot: AgentRobot) -> None:
    files, service = python(
        "stubborn", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(1000)\n"
    )
    robot.start()
    first = server.release(files, [service])
    server.want(first)
    server.healthy(first, good=True)
    server.until(lambda: server.texts("stubborn"), "it ignores the signal now")
    second = server.release({"data": "2"}, [])
    server.want(second)
    server.healthy(second)
    assert robot.processes() == []
    server.until(
        lambda: [event for event in server.events.values() if event.kind == "killed"], "that is in the history"
    )


CHILDREN = """
import os, signal, subprocess, sys, time
subprocess.Popen(["sleep", "1001"])
subprocess.Popen(["sleep", "1002"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1003)
    os._exit(0)
print("ready", flush=True)
time.sleep(1000)
"""


def test_children_that_left_the_group_are_stopped_too(server: AgentServer, robot: AgentRobot) -> None:
    files, service = python("parent", CHILDREN)
    robot.start()
    first = server.release(files, [service])
    server.want(first)
    server.healthy(first, good=True)
    server.until(lambda: server.texts("parent"), "it has children")
    assert len(eventually("four processes", lambda: robot.processes() if len(robot.processes()) == 4 else None)) == 4
    second = server.release({"data": "2"}, [])
    server.want(second)
    server.healthy(second)
    assert robot.processes() == []


def test_so_are_those_of_a_service_that_was_taken_over(server: AgentServer, robot: AgentRobot) -> None:
    files, service = python("parent", CHILDREN)
    robot.start()
    first = server.release(files, [service])
    server.want(first)
    server.healthy(first, good=True)
    server.until(lambda: server.texts("parent"), "it has children")
    robot.kill()
    robot.start()
    server.until(lambda: len(server.hellos) == 2, "it is back")
    second = server.release({"data": "2"}, [])
    server.want(second)
    server.healthy(second)
    assert robot.processes() == []


def test_what_a_crashed_service_leaves_behind_does_not_block_its_port(server: AgentServer, robot: AgentRobot) -> None:
    """The parent dies, its child still listens: the next start must find the port free."""
    port = free_port()
    code = "import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, 'web.py'])\ntime.sleep(1000)\n"
    health = (HttpCheck(path="/", interval_s=0.1),)
    service = web(port=port, code="parent.py", health=health)
    robot.start()
    ref = server.release({"parent.py": code, "web.py": web_code("child")}, [service])
    server.want(ref)
    pid = server.healthy(ref, good=True).services[0].pid
    assert pid is not None
    os.kill(pid, 9)
    server.until(lambda: server.reports[-1].services[0].pid not in (pid, None) and server.healthy(ref), "it is back")
    assert len(eventually("one family", lambda: robot.processes() if len(robot.processes()) == 2 else None)) == 2


def test_a_command_that_does_not_exist_fails_with_its_name(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    ref = server.release({"data": "1"}, [Service(name="web", run=("uvicornn", "app"), content="a" * 64, health=ALIVE)])
    server.want(ref)
    report = server.outcome(ref, "failed")
    assert report.outcome is not None and report.outcome.why is not None
    assert "uvicornn: No such file or directory" in report.outcome.why


def test_a_check_that_hangs_is_cut_off_with_its_children(server: AgentServer, robot: AgentRobot) -> None:
    checks = (CommandCheck(run=("sh", "-c", "sleep 999 & sleep 999"), timeout_s=0.2, interval_s=0.1, within_s=0.6),)
    robot.start()
    ref = server.release(
        {"data": "1"}, [Service(name="x", run=("sleep", "1000"), content="a" * 64, health=checks, stop_grace_s=0.5)]
    )
    server.want(ref)
    report = server.outcome(ref, "failed")
    assert report.outcome is not None and "took longer than" in (report.outcome.why or "")
    eventually("nothing is left", lambda: robot.processes() == [])


def test_changed_variables_restart_only_who_declared_them(server: AgentServer, robot: AgentRobot) -> None:
    one = Service(name="one", run=("sleep", "1000"), content="a" * 64, env=("KEY",), health=ALIVE, stop_grace_s=0.5)
    two = Service(name="two", run=("sleep", "1000"), content="b" * 64, health=ALIVE, stop_grace_s=0.5)
    robot.start()
    first = server.release({"data": "1"}, [one, two])
    server.want(first)
    before = {report.name: report.pid for report in server.healthy(first, good=True).services}
    (robot.root / "etc/lekiwi/robot.env").write_text("KEY=1\n")
    second = server.release({"data": "2"}, [one, two])
    server.want(second)
    after = {report.name: report.pid for report in server.healthy(second).services}
    assert after["one"] != before["one"]
    assert after["two"] == before["two"]


def test_an_idle_agent_is_small_and_quiet(server: AgentServer, robot: AgentRobot) -> None:
    import psutil

    port = free_port()
    robot.start()
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=(HttpCheck(path="/"),))])
    server.want(ref)
    server.healthy(ref, good=True)
    assert robot.process is not None
    process = psutil.Process(robot.process.pid)
    assert process.memory_info().rss < 45_000_000
    before = process.cpu_times()
    time.sleep(2.0)  # the figure itself needs time to pass
    after = process.cpu_times()
    assert after.user - before.user + after.system - before.system < 0.08
    assert body(port) == "one"
