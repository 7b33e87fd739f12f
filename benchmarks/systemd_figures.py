"""Services as systemd units on a robot of its own: start, stop, commands, and from power on to services up, beside units without walls."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figure import Figure
from lekiwi_deploy.agent.supervisors.systemd.fixed_units import ENABLED, FIXED_UNITS
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import PLACE, install_agent
from lekiwi_deploy.testing.machine_needs import why_not
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually

_SERVICES = 3
_BOOTS = 5
_PLAIN = "[Service]\nType=notify\nExecStart=/usr/bin/python3 -SE /opt/ready.py\n[Install]\nWantedBy=multi-user.target\n"
_SCRIPT = Path(__file__).with_name("systemd_on_robot.py")


def measure(rounds: int = 30) -> list[Figure]:
    """One machine, booted `2 * _BOOTS + 1` times. None where no robot can be booted; why is said on stderr."""
    reason = why_not()
    if reason is not None:
        print(f"no figures of a robot with systemd: {reason}", file=sys.stderr)
        return []
    with ExitStack() as ends:
        lan = Lan()
        ends.callback(lan.close)
        robot = ends.enter_context(Machine("bench", lan=lan))
        install_agent(robot, service=False)
        robot.write("/opt/bench.py", _SCRIPT.read_text())
        for name, text in FIXED_UNITS.items():
            robot.write(f"/etc/systemd/system/{name}", text)
        robot.boot()
        robot.run("systemctl", "enable", *ENABLED)
        found = json.loads(_bench(robot, "times", rounds))
        return [*_times(found), *_boots(robot)]


def _bench(robot: Machine, verb: str, number: int) -> str:
    command = ("env", f"PYTHONPATH={PLACE}", "python3", "/opt/bench.py", verb, str(number))
    return robot.run(*command, within_s=300).stdout


def _times(found: dict[str, dict[str, float]]) -> list[Figure]:
    ours, bare = found["supervised"], found["bare"]
    unit = "a unit without walls"
    return [
        Figure(
            name="systemd: start to ready", value=ours["start"], unit="ms", baseline=bare["start"], baseline_is=unit
        ),
        Figure(name="systemd: stop to gone", value=ours["stop"], unit="ms", baseline=bare["stop"], baseline_is=unit),
        Figure(name="systemd: command in the sandbox", value=ours["command"], unit="ms"),
        Figure(name="systemd: agent's processor time, start and stop", value=ours["processor"], unit="ms"),
        Figure(name="systemd: daemon-reload (never needed for a switch)", value=float(str(found["reload"])), unit="ms"),
    ]


def _boots(robot: Machine) -> list[Figure]:
    from benchmarks.systemd_on_robot import READY

    _bench(robot, "keep", _SERVICES)
    robot.run("sync")
    ours = _booted(robot, "lekiwi-s*.service")
    robot.run("systemctl", "disable", *ENABLED)
    robot.write("/opt/ready.py", READY)
    for number in range(_SERVICES):
        robot.write(f"/etc/systemd/system/plain{number}.service", _PLAIN)
    robot.run("systemctl", "enable", *(f"plain{number}" for number in range(_SERVICES)))
    plain = _booted(robot, "plain*.service")
    name = f"systemd: power on to {_SERVICES} services up, no network, no agent"
    return [Figure(name=name, value=ours, unit="ms", baseline=plain, baseline_is="plain units")]


def _booted(robot: Machine, pattern: str) -> float:
    """Median of the milliseconds from systemd's start to the last of them being ready."""
    found = []
    for _ in range(_BOOTS):
        robot.power_off()
        robot.boot(wait=False)
        robot.network_down()
        robot.wait_booted()
        eventually("they are up", lambda: len(_moments(robot, pattern)) == _SERVICES)
        begun = int(robot.run("systemctl", "show", "-P", "UserspaceTimestampMonotonic").stdout)
        found.append((max(_moments(robot, pattern)) - begun) / 1000)
    return sorted(found)[len(found) // 2]


def _moments(robot: Machine, pattern: str) -> list[int]:
    shown = robot.run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", pattern).stdout
    return [int(text) for text in shown.split() if int(text)]
