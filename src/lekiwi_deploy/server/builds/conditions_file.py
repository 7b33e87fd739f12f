"""The `conditions` of lekiwi.yaml: what must hold on a robot before it switches."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Number, Truth
from lekiwi_deploy.server.builds.quantities import Amount, Size
from lekiwi_deploy.server.builds.strict_yaml import Value
from lekiwi_deploy.wire.manifest import Conditions

DISK_FREE: Key[int | None] = Key(
    "disk_free",
    Size(0, 10**14),
    "The least free room on the disk that deployments lie on.",
    None,
    "what the release itself takes",
)
MEMORY_FREE: Key[int | None] = Key("memory_free", Size(0, 10**13), "The least memory that is available.", None, "any")
BATTERY: Key[float | None] = Key(
    "battery", Amount("%", "percentage", "30%", 1, 100), "The least charge of the robot's battery.", None, "any"
)
TEMPERATURE: Key[float | None] = Key(
    "temperature",
    Amount("C", "temperature", "75C", 20, 150),
    "The highest temperature of its processor, degrees Celsius.",
    None,
    "any",
)
LOAD: Key[float | None] = Key(
    "load", Number(0.1, 1000), "The highest one-minute load average, for each processor.", None, "any"
)
POWER_GOOD = Key("power_good", Truth(), "`true`: its power supply reports neither under-voltage nor throttling.", False)
CLOCK = Key("clock", Truth(), "`true`: its clock is neither before the release was made nor far in the future.", True)


def _build(value: Value, given: Mapping[str, Value]) -> Conditions:
    return Conditions(
        disk_free=DISK_FREE.read(given),
        memory_free=MEMORY_FREE.read(given),
        battery=BATTERY.read(given),
        temperature=TEMPERATURE.read(given),
        load=LOAD.read(given),
        power_good=POWER_GOOD.read(given),
        clock=CLOCK.read(given),
    )


CONDITIONS = Table(
    "mapping, see below",
    (DISK_FREE, MEMORY_FREE, BATTERY, TEMPERATURE, LOAD, POWER_GOOD, CLOCK),
    _build,
    "{disk_free: 500MB, battery: 30%}",
)
