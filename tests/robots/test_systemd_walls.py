"""What a service can do on a real robot, and what it cannot unless it says that it needs to."""

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

TRY = """
import errno, json, os, socket, sys
def tried(what):
    try:
        return what() or "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
"""


@pytest.fixture(scope="module")
def robot(image: MachineImage) -> Iterator[Machine]:
    with ExitStack() as ends:
        lan = Lan()
        ends.callback(lan.close)
        machine = ends.enter_context(Machine("kiwi", lan=lan, image=image))
        prepared(machine)
        machine.write("/home/anna/diary", "mine")
        machine.boot()
        machine.run("chmod", "755", "/home/anna")
        machine.run("mkdir", "-p", "-m", "1777", "/srv/maps")
        machine.run("mknod", "-m", "660", "/dev/ttyACM0", "c", "166", "0")
        machine.run("chgrp", "dialout", "/dev/ttyACM0")
        yield machine


@pytest.fixture
def agent(robot: Machine) -> Iterator[Driven]:
    driven = Driven(robot)
    yield driven
    driven.do("stop_all")
    driven.leave()


def answer(agent: Driven, code: str, service: str = "web", **launch: Any) -> Any:
    """What the program prints (JSON) when it runs as that service."""
    given = {"service": service, "run": ["sleep", "1"], **launch}
    wrong, lines = agent.do("run", launch=given, command=["python3", "-c", TRY + code], timeout_s=20.0)
    assert wrong is None, (wrong, lines)
    return json.loads(lines[-1])


def opened(path: str, mode: str = "r") -> str:
    return f"print(json.dumps(tried(lambda: open({path!r}, {mode!r}).close())))"


def test_it_can_write_its_state_and_next_to_nothing_else(agent: Driven) -> None:
    code = """
places = [os.environ["LEKIWI_STATE"], "/tmp", "/var/tmp", "/opt/lekiwi", ".", "/usr", "/etc", "/run", "/run/lekiwi", "/srv/maps", "/home", "/var/lib"]
print(json.dumps({place: tried(lambda: open(place + "/x", "w").close()) for place in places}))
"""
    found = answer(agent, code)
    can = {place for place, how in found.items() if how == "ok"}
    assert can == {"/var/lib/lekiwi/state/web", "/tmp", "/var/tmp"}
    assert found["."] == "EROFS"


def test_folders_that_it_names_can_be_written(agent: Driven) -> None:
    assert answer(agent, opened("/srv/maps/x", "w"), needs={"writable": ["/srv/maps"]}) == "ok"


def test_nothing_of_the_agent_is_shown_to_it(agent: Driven) -> None:
    for path in ("/etc/lekiwi/agent.json", "/etc/lekiwi/robot.key", "/var/lib/lekiwi-agent/spool", "/run/lekiwi/env"):
        assert answer(agent, opened(path)) in ("EACCES", "ENOENT"), path
    assert answer(agent, "print(json.dumps(os.listdir('/var/lib/lekiwi-agent')))") == ["bin"]


def test_the_state_of_a_service_is_its_own_and_survives(agent: Driven, robot: Machine) -> None:
    assert (
        answer(
            agent, "print(json.dumps(tried(lambda: open(os.environ['LEKIWI_STATE'] + '/kept', 'w').close())))", "maps"
        )
        == "ok"
    )
    assert answer(agent, opened("/var/lib/lekiwi/state/maps/kept"), "maps", deployment="dep_cccccccc") == "ok"
    assert answer(agent, opened("/var/lib/lekiwi/state/maps/kept"), "web") in ("EACCES", "ENOENT")
    assert answer(agent, opened("/var/lib/private/lekiwi/state/maps/kept"), "web") in ("EACCES", "ENOENT")
    listing = robot.run("ls", "/var/lib/lekiwi/state/maps", user="nobody", check=False)
    assert "Permission denied" in listing.stderr


def test_what_was_there_before_systemd_ran_services_becomes_their_state(agent: Driven, robot: Machine) -> None:
    robot.write("/var/lib/lekiwi/state/old/map", "learnt")
    assert answer(agent, "print(json.dumps(open(os.environ['LEKIWI_STATE'] + '/map').read()))", "old") == "learnt"


def test_variables_are_seen_by_nobody_else(agent: Driven, robot: Machine) -> None:
    instance = agent.start("web", ["sleep", "1000"], environment={"API_KEY": "s3cret-v4lue"})
    pid = agent.running(instance)
    for command in (
        ["sh", "-c", "cat /run/systemd/system/* /run/lekiwi/env/*"],
        ["cat", f"/proc/{pid}/environ"],
        ["systemctl", "show", "lekiwi-web-*"],
        ["sh", "-c", "ls -R /run/lekiwi; ps auxwwe"],
    ):
        assert "s3cret-v4lue" not in robot.run(*command, user="nobody", check=False).stdout
    assert "s3cret-v4lue" not in robot.run("systemctl", "cat", "lekiwi-web-*").stdout
    assert "s3cret-v4lue" in robot.run("cat", f"/proc/{pid}/environ").stdout


def test_devices_are_closed_unless_declared(agent: Driven) -> None:
    listed = set(answer(agent, "print(json.dumps(os.listdir('/dev')))"))
    assert "ttyACM0" not in listed
    assert {"null", "urandom", "shm"} <= listed
    assert answer(agent, opened("/dev/ttyACM0")) == "ENOENT"
    # There is no such hardware here: the kernel says so to whom it lets through.
    assert answer(agent, opened("/dev/ttyACM0"), needs={"devices": ["/dev/ttyACM*"]}) in ("ENXIO", "ENODEV")
    assert answer(agent, opened("/dev/ttyACM0"), needs={"devices": ["/dev/video0"]}) in ("EACCES", "EPERM")


def test_homes_are_closed_unless_declared(agent: Driven) -> None:
    assert answer(agent, opened("/home/anna/diary")) in ("EACCES", "ENOENT")
    assert answer(agent, opened("/home/anna/diary"), needs={"home": True}) == "ok"


CONNECT = "print(json.dumps(tried(lambda: socket.create_connection(('127.0.0.1', 22), 2).close())))"


def test_without_network_there_is_none(agent: Driven) -> None:
    assert answer(agent, CONNECT) == "ok"
    assert answer(agent, CONNECT, needs={"network": False}) == "EAFNOSUPPORT"


SCHEDULE = "print(json.dumps(tried(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)))))"


def test_real_time_priority_is_refused_unless_declared_and_does_not_kill(agent: Driven, robot: Machine) -> None:
    assert answer(agent, SCHEDULE) == "EPERM"
    assert answer(agent, SCHEDULE, needs={"capabilities": ["CAP_SYS_NICE"]}) == "ok"
    instance = agent.start("web", ["sleep", "1000"], needs={"realtime": 50})
    agent.running(instance)
    # A machine in a container may not raise such limits, so what it does with this one is seen on a robot only.
    assert robot.run("systemctl", "show", "-P", "LimitRTPRIO", "lekiwi-web-*").stdout.strip() == "50"


def test_limits_are_in_force(agent: Driven, robot: Machine) -> None:
    needs = {"cpus": [1], "memory_max": 200_000_000, "cpu_percent": 50, "tasks_max": 20}
    instance = agent.start("web", ["sleep", "1000"], needs=needs)
    pid = agent.running(instance)
    assert robot.run("taskset", "-pc", str(pid)).stdout.strip().endswith(": 1")
    # Whether the kernel holds a control group to memory, processor time and tasks depends on the host's control groups (not on v1).
    shown = robot.run("systemctl", "show", "-p", "MemoryMax,CPUQuotaPerSecUSec,TasksMax", "lekiwi-web-*").stdout
    assert sorted(shown.split()) == ["CPUQuotaPerSecUSec=500ms", "MemoryMax=200000000", "TasksMax=20"]


def test_capabilities_are_none_unless_declared(agent: Driven) -> None:
    code = (
        "print(json.dumps([line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapEff', 'CapBnd')]))"
    )
    assert answer(agent, code) == ["0" * 16] * 2
    assert answer(agent, code, needs={"capabilities": ["CAP_NET_RAW"]}) == ["0000000000002000"] * 2
    raw = "print(json.dumps(tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())))"
    assert answer(agent, raw) == "EAFNOSUPPORT"
    assert answer(agent, raw, needs={"capabilities": ["CAP_NET_RAW"]}) == "ok"


def test_it_cannot_become_somebody_else_or_see_others(agent: Driven, robot: Machine) -> None:
    code = """
print(json.dumps({
    "sudo": os.system("sudo -n true 2>/dev/null") != 0,
    "mount": tried(lambda: os.system("mount -t tmpfs x /tmp 2>/dev/null") and "no"),
    "others": sorted({os.stat(f"/proc/{pid}").st_uid == os.getuid() for pid in os.listdir("/proc") if pid.isdecimal()}),
}))
"""
    assert answer(agent, code) == {"sudo": True, "mount": "no", "others": [True]}


def test_the_lock_of_hardware_is_seen_by_who_needs_it_and_by_nobody_else(agent: Driven, robot: Machine) -> None:
    path = "/run/lekiwi/locks/motors"
    assert answer(agent, opened(path, "w"), "base", lock="motors") == "ok"
    assert answer(agent, "print(json.dumps(os.listdir('/run/lekiwi/locks')))", "base", lock="motors") == ["motors"]
    assert answer(agent, opened(path), "web") == "EACCES"
    assert "Permission denied" in robot.run("cat", path, user="nobody", check=False).stderr
