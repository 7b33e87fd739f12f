"""Why a robot does not switch now: somebody says "not now", or the window of its environment is closed, by its own clock."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lekiwi_deploy.robot.steps import Activate, Next, Observed, next_steps
from lekiwi_deploy.robot.wanted import by_hand_here, forced
from lekiwi_deploy.wire.reasons import Busy, Reason, WindowClosed
from lekiwi_deploy.wire.windows import Closed, look

if TYPE_CHECKING:
    from lekiwi_deploy.testing.simulation.robot import Robot


class Holding:
    """Of one robot. A hold is a lease: it has an end, and a reboot ends it."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._number = 0
        self._busy: Busy | None = None
        self._ends = 0.0
        self._opens_in: float | None = None

    def take(self, owner: str, why: str, for_s: float) -> None:
        """Somebody says "not now" for so many seconds."""
        robot = self._robot
        if not robot.alive:
            return
        self._number += 1
        wall, self._ends = robot.machine.wall, robot.machine.uptime + for_s
        until = wall + timedelta(seconds=for_s)
        self._busy = Busy(owner=owner, why=why, since=wall, until=until, id=f"h{self._number}")
        robot.look()

    def release(self) -> None:
        """They let go."""
        self._busy = None
        self._robot.look()

    @property
    def busy(self) -> Busy | None:
        """Who says "not now"."""
        machine = self._robot.machine
        if self._busy is not None and machine.uptime >= self._ends:
            self._busy = None
        return self._busy

    def rebooted(self) -> None:
        """What a hold protected is over."""
        self._busy = None

    def asked(self, seen: Observed, next_: Next) -> Next:
        """`next_`, or what is left of it while a switch in it has to wait."""
        self._opens_in = None
        due = next((step.deployment for step in next_.steps if isinstance(step, Activate)), None)
        if due is None:
            return next_
        holds = self._reasons()
        if not holds or forced(self._robot.ledger) or by_hand_here(self._robot.ledger):
            return next_
        return next_steps(due, seen, holds)

    def _reasons(self) -> tuple[Reason, ...]:
        robot = self._robot
        reasons: list[Reason] = []
        desired = robot.ledger.desired
        windows = desired.policy.window if desired is not None else None
        if windows is not None:
            name = windows.zone or robot.zone
            state = look(windows, robot.machine.wall, UTC if name is None else ZoneInfo(name))
            if isinstance(state, Closed):
                reasons.append(WindowClosed(window=windows.text, opens=state.opens))
                if state.opens is not None:
                    self._opens_in = max(0.0, (state.opens - robot.machine.wall).total_seconds())
        if self.busy is not None:
            reasons.append(self.busy)
        return tuple(reasons)

    def look_again_in(self) -> float | None:
        """Seconds until this may be otherwise by itself."""
        times = [self._opens_in] if self._opens_in is not None else []
        if self.busy is not None:
            times.append(self._ends - self._robot.machine.uptime)
        return min(times, default=None)
