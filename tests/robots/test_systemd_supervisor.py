"""Services as systemd units, on a real robot: started, watched, ended, found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from supervised_robot import Driven, prepared

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually

SLEEP = ["sleep", "1000"]


@pytest.fixture(scope="module")
def robot(image: MachineImage) -> Iterator[Machine]:
    """One for all tests of this file; each leaves nothing running on it."""
    with ExitStack() as ends:
        lan = Lan()
        ends.callback(lan.close)
        machine = ends.enter_context(Machine("kiwi", lan=lan, image=image))
        prepared(machine)
        machine.boot()
        yield machine


@pytest.fixture
def agent(robot: Machine) -> Iterator[Driven]:
    driven = Driven(robot)
    yield driven
    driven.do("stop_all")
    driven.leave()


def groups(robot: Machine) -> str:
    return robot.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "lekiwi-*.*.service").stdout


def alive(robot: Machine) -> list[int]:
    """Processes of services."""
    found = robot.run("sh", "-c", "cat /sys/fs/cgroup/lekiwi.slice/lekiwi-*/cgroup.procs", check=False).stdout
    return [int(pid) for pid in found.split()]


def test_a_service_runs_as_nobody_else_and_is_gone_when_it_is_stopped(agent: Driven, robot: Machine) -> None:
    instance = agent.python("web", "import os; print(os.getuid(), os.getcwd()); os.system('sleep 1000 & sleep 1000')")
    pid = agent.running(instance)
    agent.said("/opt/lekiwi/deployments/dep_aaaaaaaa/code")
    assert 61184 <= int(robot.run("stat", "-c", "%u", f"/proc/{pid}").stdout) <= 65519  # users that systemd makes
    assert len(alive(robot)) == 4
    agent.do("stop", instance=instance)
    assert agent.do("seen") == {}
    assert alive(robot) == []
    assert groups(robot) == ""
    assert robot.run("sh", "-c", "ls /run/systemd/system/lekiwi-* /run/lekiwi/env/*", check=False).stdout == ""


def test_what_ends_is_started_again_and_counted(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", ["sh", "-c", "sleep 0.2; exit 3"])
    seen = agent.until(f"seen['{instance}'].exits >= 2 and seen['{instance}'].state == 'running'")[instance]
    assert seen["exit"] == "exited with code 3"
    assert seen["ended"] is not None
    assert ["exited", "web exited with code 3"] in [[kind, text.split(";")[0]] for kind, text in agent.do("notes")]


def test_what_cannot_be_started_is_an_exit_with_a_reason(agent: Driven) -> None:
    instance = agent.start("web", ["no-such-program"])
    assert "no-such-program: no such program" in agent.until(f"seen['{instance}'].exits")[instance]["exit"]
    group = agent.start("eyes", SLEEP, needs={"groups": ["no-such-group"]})
    assert "needs the group no-such-group" in agent.until(f"seen['{group}'].exits")[group]["exit"]


def test_who_does_not_stop_is_killed_after_its_grace_with_all_that_it_left_behind(
    agent: Driven, robot: Machine
) -> None:
    code = (
        "import os,signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if os.fork() == 0:\n os.setsid(); os.fork()\n"
        "print('deaf'); time.sleep(1000)"
    )
    instance = agent.python("web", code, grace_s=30.0)
    agent.said("deaf")
    assert agent.do("stop", instance=instance, grace_s=0.3) < 10
    assert alive(robot) == []
    assert any(kind == "killed" for kind, _ in agent.do("notes"))


def test_two_versions_of_a_service_run_beside_each_other_and_share_its_state(agent: Driven) -> None:
    code = "import os,time; d=os.environ['LEKIWI_STATE']; open(d+'/{}','w'); time.sleep(0.5); print(sorted(os.listdir(d))); time.sleep(1000)"
    one = agent.python("maps", code.format("one"), fingerprint="1" * 64)
    agent.running(one)
    agent.said("['one']")
    two = agent.python("maps", code.format("two"), fingerprint="2" * 64)
    agent.said("['one', 'two']")
    assert set(agent.do("seen")) == {one, two}
    agent.do("stop", instance=one)
    assert set(agent.do("seen")) == {two}


def test_what_it_says_of_itself_is_heard(agent: Driven) -> None:
    code = """
import os, socket, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
tell("STATUS=waiting for motors"); time.sleep(0.5)
tell("READY=1\\nSTATUS=owns motors @%f" % time.monotonic()); time.sleep(0.5)
tell("STATUS=released motors @%f" % time.monotonic()); time.sleep(1000)
"""
    instance = agent.python("base", code, notify=True)
    waiting = agent.until(f"seen['{instance}'].told.waiting_for")[instance]
    assert waiting["told"]["waiting_for"] == "motors"
    assert not waiting["told"]["ready"]
    owns = agent.until(f"seen['{instance}'].told.owns_since")[instance]["told"]
    assert owns["ready"]
    assert owns["waiting_for"] is None
    released = agent.until(f"seen['{instance}'].told.released_at")[instance]["told"]
    assert 0.4 < released["released_at"] - owns["owns_since"] < 5


def test_silence_towards_the_watchdog_is_an_exit(agent: Driven) -> None:
    code = (
        "import os, socket, time; out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "out.sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(1000)"
    )
    instance = agent.python("base", code, notify=True, watchdog_s=0.5)
    assert "no sign of life for 0.5 s" in agent.until(f"seen['{instance}'].exits")[instance]["exit"]


def test_a_paused_service_gets_no_processor(agent: Driven, robot: Machine) -> None:
    instance = agent.python("web", "n = 0\nwhile True: n += 1")
    pid = agent.running(instance)

    def used() -> int:
        return sum(int(field) for field in robot.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:13])

    eventually("it computes", lambda: used() > 10)
    agent.do("pause", instance=instance)
    agent.until(f"seen['{instance}'].paused")
    before = used()
    robot.run("sleep", "0.5")
    assert used() == before
    agent.do("resume", instance=instance)
    agent.until(f"not seen['{instance}'].paused")
    eventually("it computes again", lambda: used() > before)
    agent.do("pause", instance=instance)
    agent.until(f"seen['{instance}'].paused")
    agent.do("stop", instance=instance)


def test_who_is_held_down_is_gone_when_it_exits(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", SLEEP)
    pid = agent.running(instance)
    agent.do("hold_down", instance=instance)
    robot.run("kill", "-9", str(pid))
    agent.until("not seen")
    assert groups(robot) == ""


def test_a_new_agent_finds_what_runs_and_how_often_it_exited(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", SLEEP, port=24007, deployment="dep_bbbbbbbb", fingerprint="b" * 64)
    pid = agent.running(instance)
    robot.run("kill", "-9", str(pid))
    pid = agent.until(f"seen['{instance}'].exits and seen['{instance}'].state == 'running' and seen['{instance}'].pid")[
        instance
    ]["pid"]
    agent.leave()
    agent.begin()
    found = agent.found[instance]
    assert (found["pid"], found["exits"], found["port"]) == (pid, 1, 24007)
    assert (found["deployment"], found["fingerprint"], found["service"]) == ("dep_bbbbbbbb", "b" * 64, "web")


def test_services_outlive_an_agent_that_dies_and_come_back_without_one(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", SLEEP)
    pid = agent.running(instance)
    agent.kill()
    robot.run("kill", "-9", str(pid))
    eventually(
        "systemd starts it again",
        lambda: alive(robot) not in ([], [pid]),
    )
    agent.begin()
    assert agent.found[instance]["exits"] == 1
    assert agent.found[instance]["state"] == "running"


def test_units_that_say_nothing_of_themselves_are_ended(agent: Driven, robot: Machine) -> None:
    agent.leave()
    robot.write("/run/systemd/system/lekiwi-evil-12345678.12345678.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    robot.run("systemctl", "start", "lekiwi-evil-12345678.12345678.service")
    agent.begin()
    assert agent.found == {}
    eventually("it is gone", lambda: groups(robot) == "")


def test_a_command_is_run_as_the_service_would_be(agent: Driven) -> None:
    launch = {"service": "web", "run": SLEEP, "environment": {"API_KEY": "k3y"}}

    def run(script: str, timeout_s: float = 10.0) -> Any:
        return agent.do("run", launch=launch, command=["sh", "-c", script], timeout_s=timeout_s)

    assert run("echo one; echo two >&2; echo $USER; echo $API_KEY") == [None, ["one", "two", "lekiwi-web", "k3y"]]
    assert run("exit 7") == ["sh exited with code 7", []]
    wrong, lines = run("echo begun; sleep 100", 0.5)
    assert wrong == "sh took longer than 0.5 s and was killed"
    assert lines == ["begun"]
    assert len(run("seq 100000")[1]) == 50
    assert "no such program" in agent.do("run", launch=launch, command=["nope"], timeout_s=1.0)[0]
    assert agent.do("seen") == {}


def test_the_next_version_waits_for_the_hardware_and_gets_it_when_the_other_one_ends(agent: Driven) -> None:
    code = """
import fcntl, os, socket, time
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
lock = open(os.environ["LEKIWI_LOCK"])
tell("STATUS=waiting for motors")
fcntl.flock(lock, fcntl.LOCK_EX)
tell("READY=1\\nSTATUS=owns motors @%f" % time.monotonic())
time.sleep(1000)
"""
    one = agent.python("base", code, notify=True, lock="motors", fingerprint="1" * 64)
    agent.until(f"seen['{one}'].told.ready")
    two = agent.python("base", code, notify=True, lock="motors", fingerprint="2" * 64)
    agent.until(f"seen['{two}'].told.waiting_for")
    agent.do("hold_down", instance=one)
    agent.do("stop", instance=one)
    assert agent.until(f"seen['{two}'].told.ready")[two]["told"]["waiting_for"] is None


def test_arguments_and_variables_arrive_as_they_were(agent: Driven) -> None:
    nasty = [
        "",
        " ",
        "a b",
        "$HOME",
        "${HOME}",
        "$$",
        "%n",
        "%%",
        "%",
        ";",
        "\\;",
        "'",
        '"',
        "\\",
        "\\n",
        "a\nb",
        "\t",
        "é ✓ 🤖",
        "*",
        "~",
        "#x",
    ]
    nasty += [
        "-x",
        "@",
        "+",
        "!",
        ":",
        "|",
        "&&",
        "`id`",
        "$(id)",
        "\\x41",
        "\\101",
        "a\\",
        "\\\\",
        '\\"',
        "A=B",
        "\u00a0",
        "\u2028",
        "x" * 5000,
    ]
    code = "import json,os,sys; open(os.environ['LEKIWI_STATE']+'/told','w').write(json.dumps([sys.argv[1:], dict(os.environ)])); print('written')"
    variables = {f"V{at}": value for at, value in enumerate(nasty)}
    launch: dict[str, Any] = {"service": "odd", "run": SLEEP, "environment": variables}
    wrong, lines = agent.do("run", launch=launch, command=["python3", "-c", code, *nasty], timeout_s=20.0)
    assert (wrong, lines) == (None, ["written"])
    show = ["sh", "-c", "cat $LEKIWI_STATE/told"]
    wrong, lines = agent.do("run", launch=launch, command=show, timeout_s=20.0)
    arguments, environment = json.loads("".join(lines))
    assert arguments == nasty
    assert {name: environment[name] for name in variables} == variables


def test_news_come_after_the_bus_or_systemd_itself_began_anew(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", SLEEP)
    pid = agent.running(instance)
    robot.run("systemctl", "daemon-reexec")
    robot.run("kill", "-9", str(pid))
    again = agent.until(
        f"seen['{instance}'].exits == 1 and seen['{instance}'].state == 'running' and seen['{instance}'].pid"
    )
    pid = again[instance]["pid"]
    robot.run("systemctl", "restart", "dbus")
    robot.run("kill", "-9", str(pid))
    agent.until(
        f"seen['{instance}'].exits == 2 and seen['{instance}'].state == 'running' and seen['{instance}'].pid", 40
    )
    agent.do("stop", instance=instance)


def test_units_are_never_read_again_by_all_of_systemd(agent: Driven, robot: Machine) -> None:
    def reloads() -> str:
        return robot.run("journalctl", "-q", "_PID=1", "--grep", "Reloading", check=False).stdout

    before = reloads()
    for deployment in ("dep_11111111", "dep_22222222"):
        instance = agent.start("web", SLEEP, deployment=deployment)
        agent.running(instance)
        agent.do("stop", instance=instance)
    assert reloads() == before
