"""Reading how a machine is out of files like those of Linux."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lekiwi_deploy.agent.readings import Sensors
from lekiwi_deploy.robot.conditions import Readings
from lekiwi_deploy.wire.manifest import Conditions

EVERYTHING = Conditions(disk_free=1, memory_free=1, battery=1, temperature=1, load=1, power_good=True, clock=True)


def read(root: Path, asked: Conditions = EVERYTHING) -> Readings:
    return asyncio.run(Sensors(root, root).read(asked))


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of its own that tells nothing."""
    for folder in ("proc", "sys"):
        (tmp_path / folder).mkdir()
    return tmp_path


def test_a_machine_that_tells_nothing_gives_nothing(root: Path) -> None:
    seen = read(root)
    assert (seen.memory_free, seen.battery, seen.temperature, seen.load, seen.power) == (None, None, None, None, ())
    assert seen.disk_free is not None and seen.clock is not None


def test_only_what_is_asked_for_is_read(root: Path) -> None:
    asked = Conditions(disk_free=None, clock=False)
    write(root, "sys/class/thermal/thermal_zone0/temp", "50000")
    assert read(root, asked) == Readings()


def test_memory_is_what_the_kernel_calls_available(root: Path) -> None:
    write(root, "proc/meminfo", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:  42 kB\n")
    assert read(root).memory_free == 42 * 1024


def test_load_is_told_per_processor(root: Path) -> None:
    write(root, "proc/loadavg", "3.00 2.00 1.00 1/200 42\n")
    assert read(root).load == 3.0 / (os.cpu_count() or 1)


def test_two_batteries_count_by_their_size(root: Path) -> None:
    for name, size, percent in (("BAT0", "30", "100"), ("BAT1", "10", "20")):
        write(root, f"sys/class/power_supply/{name}/type", "Battery\n")
        write(root, f"sys/class/power_supply/{name}/energy_full", size)
        write(root, f"sys/class/power_supply/{name}/capacity", percent)
    assert read(root).battery == 80.0


@pytest.mark.parametrize(
    "file, text", [("type", "Mains\n"), ("scope", "Device\n"), ("present", "0\n"), ("capacity", "")]
)
def test_what_is_no_battery_of_the_machine_does_not_count(root: Path, file: str, text: str) -> None:
    write(root, "sys/class/power_supply/x/type", "Battery\n")
    write(root, "sys/class/power_supply/x/capacity", "7\n")
    assert read(root).battery == 7.0
    write(root, f"sys/class/power_supply/x/{file}", text)
    assert read(root).battery is None


def test_a_battery_says_that_it_is_being_charged(root: Path) -> None:
    write(root, "sys/class/power_supply/x/type", "Battery\n")
    write(root, "sys/class/power_supply/x/capacity", "7\n")
    write(root, "sys/class/power_supply/x/status", "Charging\n")
    assert read(root).charging


def test_the_hottest_sensor_counts_and_absurd_ones_do_not(root: Path) -> None:
    for file, text in (
        ("thermal/thermal_zone0/temp", "48000"),
        ("thermal/thermal_zone1/temp", "-274000"),
        ("thermal/cooling_device0/temp", "99000"),
        ("hwmon/hwmon0/temp1_input", "71500"),
        ("hwmon/hwmon0/temp2_input", "255000"),
        ("hwmon/hwmon1/temp1_input", "nonsense"),
    ):
        write(root, f"sys/class/{file}", text)
    assert read(root).temperature == 71.5


@pytest.mark.parametrize(
    "bits, troubles",
    [
        ("0", ()),
        ("50000", ()),
        ("50005", ("under-voltage", "throttled")),
        ("8", ("soft temperature limit",)),
        ("?", ()),
    ],
)
def test_the_raspberry_pi_tells_of_trouble_that_is_now(root: Path, bits: str, troubles: tuple[str, ...]) -> None:
    write(root, "sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    assert read(root).power == troubles


def test_an_alarm_of_the_supply_voltage_is_trouble(root: Path) -> None:
    write(root, "sys/class/hwmon/hwmon3/name", "rpi_volt\n")
    write(root, "sys/class/hwmon/hwmon3/in0_lcrit_alarm", "1\n")
    assert read(root).power == ("under-voltage",)


def test_vcgencmd_is_asked_where_the_kernel_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/vcgencmd"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x50004\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert "throttled" in read(tmp_path / "no-tree").power


def test_a_root_without_a_tree_of_its_own_is_this_machine(tmp_path: Path) -> None:
    seen = read(tmp_path)
    assert seen.memory_free is not None and seen.load is not None
