"""What the base does with commands and with their absence. No clock and no sockets: time is told."""

from __future__ import annotations

from kiwi.base.kinematics import to_body, to_wheels
from kiwi.base.motors import SimulatedMotors
from kiwi.common.messages import Command, write_observation

WATCHDOG_S = 0.5
"""Without a command for so long, the wheels stop: whoever drove may be gone."""


class Driver:
    """Drives `motors`. Times are seconds of one monotonic clock."""

    def __init__(self, motors: SimulatedMotors, now: float) -> None:
        self._motors = motors
        self._seen_at = now
        self._commanded_at: float | None = None

    def obey(self, command: Command, now: float) -> None:
        """Do what was asked at `now`."""
        self._commanded_at = now
        self._motors.turn_wheels(to_wheels(*command.velocity))
        self._motors.move_arm(command.arm)

    def tick(self, now: float) -> bool:
        """Let the time until `now` pass; True when the watchdog stopped the wheels just now."""
        self._motors.advance(now - self._seen_at)
        self._seen_at = now
        if not any(self._motors.wheels) or self._commanded_at is None or now - self._commanded_at < WATCHDOG_S:
            return False
        self._motors.stop_wheels()
        return True

    def observation(self) -> bytes:
        """What the base does now, as it goes out."""
        return write_observation(to_body(self._motors.wheels), self._motors.positions)

    def busy(self, now: float) -> bool:
        """Whether somebody drives, or something still moves."""
        return self._motors.moving or (self._commanded_at is not None and now - self._commanded_at < WATCHDOG_S)
