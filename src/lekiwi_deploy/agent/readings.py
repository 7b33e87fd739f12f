"""Reading how the machine is: disk, memory, battery, temperature, load, power supply, clock. Only what is asked for, only when it is.

A root folder that has a `proc` or `sys` of its own is read there; otherwise the machine's are. What cannot be read is None.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lekiwi_deploy.agent import machine
from lekiwi_deploy.robot.conditions import Readings
from lekiwi_deploy.wire.manifest import Conditions

AGENT_MADE = datetime(2026, 6, 1, tzinfo=UTC)
"""No clock that is right shows a time before this. To be moved on with each release; file times would not do, since a robot with a wrong
clock may have written them."""

_PLAUSIBLE = (-40.0, 125.0)
"""Sensors that are not connected show values far outside."""
_THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of the Raspberry Pi firmware's answer that tell of now; the higher ones tell of since boot."""
_VCGENCMD_S = 2.0


class Sensors:
    """The machine of the robot whose root is `root`; `disk` is the folder whose file system must have room."""

    def __init__(self, root: Path, disk: Path) -> None:
        self._disk = disk
        self._proc = root / "proc" if (root / "proc").is_dir() else Path("/proc")
        self._sys = root / "sys" if (root / "sys").is_dir() else Path("/sys")
        self._own_sys = self._sys == Path("/sys")

    async def read(self, asked: Conditions) -> Readings:
        """What `asked` needs."""
        battery, charging = self._battery() if asked.battery is not None else (None, False)
        return Readings(
            disk_free=self._disk_free() if asked.disk_free is not None else None,
            memory_free=self._memory() if asked.memory_free is not None else None,
            battery=battery,
            charging=charging,
            temperature=self._temperature() if asked.temperature is not None else None,
            load=self._load() if asked.load is not None else None,
            power=await self._power() if asked.power_good else (),
            clock=machine.utc_now() if asked.clock else None,
        )

    def _disk_free(self) -> int | None:
        try:
            found = os.statvfs(self._disk)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def _memory(self) -> int | None:
        for line in _text(self._proc / "meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                with suppress(ValueError, IndexError):
                    return int(line.split()[1]) * 1024
        return None

    def _load(self) -> float | None:
        with suppress(ValueError, IndexError):
            return float(_text(self._proc / "loadavg").split()[0]) / (os.cpu_count() or 1)
        return None

    def _battery(self) -> tuple[float | None, bool]:
        """Percent of all batteries of the machine together, and whether one is being charged. Those of mice and gamepads do not count."""
        full = now = 0.0
        charging = False
        for supply in _folders(self._sys / "class/power_supply"):
            if _text(supply / "type").strip() != "Battery" or _text(supply / "scope").strip() == "Device":
                continue
            capacity = _number(supply / "capacity")
            if _number(supply / "present") == 0 or capacity is None:
                continue
            weight = _number(supply / "energy_full") or _number(supply / "charge_full") or 1.0
            full, now = full + weight, now + weight * capacity
            charging = charging or _text(supply / "status").strip() == "Charging"
        return (now / full, charging) if full else (None, False)

    def _temperature(self) -> float | None:
        files = [
            zone / "temp" for zone in _folders(self._sys / "class/thermal") if zone.name.startswith("thermal_zone")
        ]
        files += [file for chip in _folders(self._sys / "class/hwmon") for file in sorted(chip.glob("temp*_input"))]
        found = [value / 1000 for value in map(_number, files) if value is not None]
        return max((value for value in found if _PLAUSIBLE[0] < value < _PLAUSIBLE[1]), default=None)

    async def _power(self) -> tuple[str, ...]:
        """What is wrong with the power supply now, as far as the machine can tell."""
        troubles: list[str] = []
        throttled = self._throttled_file()
        if throttled is None and self._own_sys and shutil.which("vcgencmd"):
            throttled = await asyncio.to_thread(_vcgencmd)
        if throttled is not None:
            troubles += [word for bit, word in _THROTTLED.items() if throttled >> bit & 1]
        for chip in _folders(self._sys / "class/hwmon"):
            if _text(chip / "name").strip() == "rpi_volt" and _number(chip / "in0_lcrit_alarm") == 1:
                troubles.append(_THROTTLED[0])
        return tuple(dict.fromkeys(troubles))

    def _throttled_file(self) -> int | None:
        for file in sorted((self._sys / "devices/platform").glob("soc*/*firmware/get_throttled")):
            with suppress(ValueError):
                return int(_text(file).strip(), 16)
        return None


def _vcgencmd() -> int | None:
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_S, check=False
        )
        return int(done.stdout.strip().partition("=")[2], 16)  # throttled=0x50005
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _folders(parent: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(parent.iterdir())


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # not there, or a sensor that has nothing to say now
        return ""


def _number(file: Path) -> float | None:
    with suppress(ValueError):
        return float(_text(file))
    return None
