"""Conditions of a release on a real agent, whose machine is a folder of files like those of Linux."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from agent_robot import AgentRobot, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef, Phase, Report
from lekiwi_deploy.wire.manifest import Conditions
from lekiwi_deploy.wire.reasons import (
    Busy,
    ClockWrong,
    LowBattery,
    LowDisk,
    LowMemory,
    Overloaded,
    PowerTrouble,
    Reason,
    TooHot,
)


class Machine:
    """A machine that is well, below the robot's root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n")
        self.write("proc/loadavg", "0.10 0.20 0.30 1/200 4242\n")
        self.write("sys/class/power_supply/bat0/type", "Battery\n")
        self.write("sys/class/power_supply/bat0/capacity", "80\n")
        self.write("sys/class/power_supply/bat0/status", "Discharging\n")
        self.write("sys/class/power_supply/mouse/type", "Battery\n")
        self.write("sys/class/power_supply/mouse/scope", "Device\n")
        self.write("sys/class/power_supply/mouse/capacity", "3\n")
        self.write("sys/class/thermal/thermal_zone0/temp", "48312\n")
        self.write("sys/class/hwmon/hwmon0/temp1_input", "-273000\n")
        self.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def suffers(self) -> None:
        """Everything is wrong at once."""
        self.write("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable:    1000 kB\n")
        self.write("proc/loadavg", "900.0 0.20 0.30 1/200 4242\n")
        self.write("sys/class/power_supply/bat0/capacity", "18\n")
        self.write("sys/class/thermal/thermal_zone0/temp", "91500\n")
        self.write("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")

    def recovers(self) -> None:
        Machine(self.root)


ALL = Conditions(
    disk_free=None, memory_free=100_000_000, battery=30.0, temperature=80.0, load=4.0, power_good=True, clock=True
)


@pytest.fixture
def machine(robot: AgentRobot) -> Machine:
    return Machine(robot.root)


def release(server: AgentServer, port: int, text: str, asked: Conditions, **more: object) -> DeploymentRef:
    return server.release(
        {"web.py": web_code(text)},
        [web(port=port, content=text)],
        conditions=asked,
        **more,  # type: ignore[arg-type]
    )


def waits(server: AgentServer, *kinds: type[Reason]) -> Report:
    """Wait until the robot reports that it waits for exactly these, in this order."""

    def there() -> Report | None:
        if not server.reports:
            return None
        report = server.reports[-1]
        found = tuple(type(reason) for reason in report.waiting)
        return report if found == kinds and report.phase is Phase.WAITING else None

    report: Report = server.until(there, f"it waits for {kinds}")
    return report


def test_a_machine_that_is_well_holds_nothing_back(server: AgentServer, robot: AgentRobot, machine: Machine) -> None:
    robot.start()
    ref = release(server, free_port(), "one", ALL)
    server.want(ref)
    server.healthy(ref)


def test_every_unmet_condition_is_told_in_order_and_the_switch_follows_when_all_are_met(
    server: AgentServer, robot: AgentRobot, machine: Machine
) -> None:
    machine.suffers()
    robot.start()
    ref = release(server, free_port(), "one", ALL)
    server.want(ref)
    report = waits(server, LowMemory, LowBattery, TooHot, Overloaded, PowerTrouble)
    assert report.waiting[1] == LowBattery(30.0, 18.0)
    assert report.waiting[4] == PowerTrouble("under-voltage, throttled")
    assert "battery at 18 %, 30 % asked for" in robot.command("why").stdout
    assert (robot.root / "opt/lekiwi/deployments" / ref.id / "code/web.py").exists(), "it is staged meanwhile"
    machine.recovers()
    server.healthy(ref)


def test_holds_come_before_conditions(server: AgentServer, robot: AgentRobot, machine: Machine) -> None:
    robot.start()
    server.until(lambda: server.linked, "the agent runs")
    assert robot.command("hold", "--reason", "teleop", "--for", "20m").returncode == 0
    machine.suffers()
    asked = Conditions(disk_free=10**18, battery=30)
    server.want(release(server, free_port(), "one", asked, created_at=datetime.now(UTC) + timedelta(hours=3)))
    waits(server, Busy, LowDisk, LowBattery, ClockWrong)


def test_force_goes_over_conditions_too(server: AgentServer, robot: AgentRobot, machine: Machine) -> None:
    machine.suffers()
    robot.start()
    ref = release(server, free_port(), "one", ALL)
    server.want(ref, force=True)
    server.healthy(ref)
    server.until(lambda: any(event.kind == "overridden" for event in server.events.values()), "it is told")
    (event,) = [event for event in server.events.values() if event.kind == "overridden"]
    assert "battery at 18 %" in event.text and "too hot" in event.text


def test_a_machine_without_sensors_is_not_held_back_by_what_it_cannot_read(
    server: AgentServer, robot: AgentRobot, machine: Machine
) -> None:
    shutil.rmtree(robot.root / "sys/class")
    shutil.rmtree(robot.root / "sys/devices")
    robot.start()
    ref = release(server, free_port(), "one", ALL)
    server.want(ref)
    server.healthy(ref)


def test_figures_that_move_a_little_make_no_new_reports(
    server: AgentServer, robot: AgentRobot, machine: Machine
) -> None:
    machine.write("sys/class/thermal/thermal_zone0/temp", "91500\n")
    robot.start()
    server.want(release(server, free_port(), "one", Conditions(temperature=80.0)))
    before = waits(server, TooHot)
    machine.write("sys/class/thermal/thermal_zone0/temp", "92100\n")
    assert robot.command("hold", "--reason", "look again", "--for", "20m").returncode == 0
    assert waits(server, Busy, TooHot).waiting[1] == before.waiting[0]


def test_conditions_are_no_matter_to_what_runs_and_to_going_back(
    server: AgentServer, robot: AgentRobot, machine: Machine
) -> None:
    port = free_port()
    robot.start()
    refs = [release(server, port, text, ALL) for text in ("one", "two")]
    for ref in refs:
        server.want(ref)
        server.healthy(ref, good=True)
    machine.suffers()
    assert robot.command("rollback").returncode == 0
    assert robot.current() == refs[0].id
    robot.stop()
    robot.start()
    server.healthy(refs[0])
