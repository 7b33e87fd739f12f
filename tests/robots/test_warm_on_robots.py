"""On a real robot with systemd: the way back to a version that is kept warm, and hardware that is handed over."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from robots_world import Machines
from small_robot import SmallRobot

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.link import DeploymentRef, SwitchKind, TrialPolicy
from lekiwi_deploy.wire.manifest import Handover, ProcessCheck, Service

CONTRACT = (Path(__file__).parents[2] / "docs/robot-contract.md").read_text()
HELPER = re.findall(r"```python\n(.*?)```", CONTRACT[CONTRACT.index("### In Python") :], re.DOTALL)[0]
BASE = """
import os, signal, time
from hardware import Hardware
print("VERSION loads", flush=True)
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
with Hardware("motors"):
    print("VERSION owns", flush=True)
    while not stopping:
        time.sleep(0.01)
    print("VERSION lets go", flush=True)
"""
LONG = TrialPolicy(trial_s=60.0)


@pytest.fixture
def robot(machines: Machines, lan: Lan) -> Iterator[SmallRobot]:
    robot = SmallRobot(machines("kiwi"), lan)
    yield robot
    robot.server.stop()


def base(robot: SmallRobot, version: str) -> DeploymentRef:
    service = Service(
        name="base",
        run=("python3", "-u", "base.py"),
        content=hashlib.sha256(version.encode()).hexdigest(),
        health=(ProcessCheck(settle_s=0.1),),
        exclusive="motors",
        handover=Handover.LOCK,
    )
    files: dict[str, str | bytes] = {"base.py": BASE.replace("VERSION", version), "hardware.py": HELPER}
    return robot.server.release(files, [service])


def units(robot: SmallRobot, service: str) -> dict[str, tuple[str, str]]:
    """Of its instances that run: freezer state and process id, by unit."""
    listed = robot.machine.run(
        "systemctl", "list-units", "--plain", "--no-legend", "--state=active", f"lekiwi-{service}-*"
    )
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    show = ("systemctl", "show", "-P", "FreezerState", "-P", "MainPID")
    return {name: tuple(robot.machine.run(*show, name).stdout.split()) for name in names}  # type: ignore[misc]


def test_the_version_before_is_kept_warm_and_gone_back_to_without_a_start(robot: SmallRobot) -> None:
    server = robot.server
    first = robot.want("one")
    pid = server.healthy(first, good=True).services[0].pid
    second = robot.want("two")
    report = server.healthy(second)
    assert report.outcome is not None and report.outcome.switches[0].kind is SwitchKind.BLUE_GREEN
    assert robot.says() == "two"
    eventually("both are there", lambda: len(units(robot, "web")) == 2, within_s=20)
    server.want(first)
    report = server.healthy(first)
    assert (robot.says(), report.services[0].pid) == ("one", pid)
    assert report.outcome is not None and report.outcome.switches[0].kind is SwitchKind.BLUE_GREEN


def test_hardware_is_handed_over_and_the_holders_death_is_a_failed_trial(robot: SmallRobot) -> None:
    server = robot.server
    one, two = base(robot, "one"), base(robot, "two")
    server.want(one)
    server.healthy(one, good=True)
    server.want(two, policy=LONG)
    report = server.healthy(two)
    assert report.outcome is not None
    (switch,) = report.outcome.switches
    assert (switch.kind, switch.why) == (SwitchKind.WARM, None)
    assert switch.gap_ms is not None
    server.until(
        lambda: any(service.standby == one.id for service in server.reports[-1].services), "the one before is loaded"
    )
    server.until(lambda: server.texts("base").count("one loads") == 2, "it loads")
    waiting = "grep -c -- '-> FLOCK' /proc/locks"
    eventually("it waits", lambda: robot.machine.run("sh", "-c", waiting, check=False).stdout.strip() == "1")
    pid = server.reports[-1].services[0].pid
    robot.machine.run("kill", "-9", str(pid))
    report = server.outcome(two, "rolled_back")
    assert report.outcome is not None and "the version before took over at once" in (report.outcome.why or "")
    server.healthy(one)
    assert robot.machine.run("readlink", "/opt/lekiwi/current").stdout.strip().endswith(one.id)
    assert server.texts("base").count("two loads") == 1
