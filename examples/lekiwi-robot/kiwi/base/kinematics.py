"""Three omniwheels: how fast each must turn for the body to move as wanted, and back."""

from __future__ import annotations

import numpy as np

WHEEL_RADIUS_M = 0.05
BASE_RADIUS_M = 0.125
STEPS_PER_TURN = 4096
MAX_RAW = 3000
"""Steps/s that a wheel's motor can do; faster wishes are scaled down together, so that the direction stays."""

_MOUNTED_AT = np.radians(np.array([240.0, 0.0, 120.0]) - 90.0)  # left, back, right
_BODY_TO_WHEELS = np.column_stack((np.cos(_MOUNTED_AT), np.sin(_MOUNTED_AT), np.full(3, BASE_RADIUS_M)))
_WHEELS_TO_BODY = np.linalg.inv(_BODY_TO_WHEELS)
_RAW_PER_RADIAN = STEPS_PER_TURN / (2 * np.pi)


def to_wheels(x: float, y: float, theta: float) -> tuple[int, int, int]:
    """Motor speeds (left, back, right; steps/s) for a body velocity of `x`, `y` m/s and `theta` degrees/s."""
    surface = _BODY_TO_WHEELS @ np.array([x, y, np.radians(theta)])
    raw = surface / WHEEL_RADIUS_M * _RAW_PER_RADIAN
    fastest = float(np.max(np.abs(raw)))
    if fastest > MAX_RAW:
        raw *= MAX_RAW / fastest
    left, back, right = (round(speed) for speed in raw.tolist())
    return left, back, right


def to_body(wheels: tuple[int, int, int]) -> tuple[float, float, float]:
    """The body velocity (m/s, m/s, degrees/s) that motor speeds in steps/s make."""
    surface = np.array(wheels, dtype=float) / _RAW_PER_RADIAN * WHEEL_RADIUS_M
    x, y, turn = (_WHEELS_TO_BODY @ surface).tolist()
    return x, y, float(np.degrees(turn))
