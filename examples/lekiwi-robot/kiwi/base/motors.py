"""The motors, simulated: what the bus of a real LeKiwi would do with the same calls."""

from __future__ import annotations

from collections.abc import Mapping

from kiwi.common.messages import JOINTS

JOINT_SPEED = 120.0
"""Position units per second that a joint moves at most."""


def _limits(joint: str) -> tuple[float, float]:
    return (0.0, 100.0) if joint == "gripper" else (-100.0, 100.0)


class SimulatedMotors:
    """Three wheels that turn at once as told, six joints that move to their goals at `JOINT_SPEED`."""

    def __init__(self) -> None:
        self.wheels = (0, 0, 0)
        self.positions = dict.fromkeys(JOINTS, 0.0)
        self._goals = dict(self.positions)

    def turn_wheels(self, raw: tuple[int, int, int]) -> None:
        """Speeds in steps/s: left, back, right."""
        self.wheels = raw

    def move_arm(self, goals: Mapping[str, float]) -> None:
        """Goals by joint; what is out of a joint's range becomes its end."""
        for joint, goal in goals.items():
            low, high = _limits(joint)
            self._goals[joint] = min(max(goal, low), high)

    def stop_wheels(self) -> None:
        """The arm keeps its pose: letting go would drop what it holds."""
        self.wheels = (0, 0, 0)

    @property
    def moving(self) -> bool:
        """Whether a wheel turns or a joint is on its way."""
        return any(self.wheels) or self._goals != self.positions

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        step = JOINT_SPEED * seconds
        for joint, goal in self._goals.items():
            away = goal - self.positions[joint]
            self.positions[joint] = goal if abs(away) <= step else self.positions[joint] + (step if away > 0 else -step)
