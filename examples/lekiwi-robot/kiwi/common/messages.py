"""Commands and observations: flat JSON objects, named as LeKiwi's own host names them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
_VELOCITIES = ("x.vel", "y.vel", "theta.vel")
_POSITIONS = {f"arm_{joint}.pos": joint for joint in JOINTS}


class BadCommand(ValueError):
    """A command that is not acted on; the message says why."""


@dataclass(frozen=True)
class Command:
    """`velocity`: x and y in m/s, theta in degrees/s; `arm`: goals by joint, only those that were given."""

    velocity: tuple[float, float, float]
    arm: Mapping[str, float]


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadCommand(f"{name} must be a number, not {value!r}")
    return float(value)


def read_command(data: bytes) -> Command:
    """The command in `data`. Raises `BadCommand` for anything but a JSON object of known names and finite numbers."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadCommand(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadCommand("not a JSON object")
    unknown = sorted(fields.keys() - _POSITIONS.keys() - set(_VELOCITIES))
    if unknown:
        raise BadCommand(f"unknown: {', '.join(unknown)}")
    x, y, theta = (_number(name, fields.get(name, 0.0)) for name in _VELOCITIES)
    arm = {joint: _number(name, fields[name]) for name, joint in _POSITIONS.items() if name in fields}
    return Command((x, y, theta), arm)


def write_observation(velocity: tuple[float, float, float], arm: Mapping[str, float]) -> bytes:
    """The JSON that tells what the base does: all joints, and the velocity in m/s and degrees/s."""
    fields = {name: round(arm[joint], 3) for name, joint in _POSITIONS.items()}
    fields |= {name: round(value, 4) for name, value in zip(_VELOCITIES, velocity, strict=True)}
    return json.dumps(fields).encode()
