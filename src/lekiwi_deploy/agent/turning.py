"""Whether the agent does its work: its event loop turns (whoever asks is proof of that) and its reconcile loop gets on."""

from __future__ import annotations

import asyncio
import os

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.wire.local import Alive

_COMES_ROUND_S = 3.0
LONGEST_STEP_S = 900.0
"""One step of a switch may take so long (hooks, programs that are slow to stop); a loop that did not come round for longer hangs."""


class Turning:
    """Nudges the reconcile loop when asked, and says whether it came round since it was nudged, or may still be at a step."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._turn = robot.next_turn()
        self._asked = machine.boottime()

    def __call__(self) -> bool:
        now = machine.boottime()
        if self._turn.done():
            self._turn, self._asked = self._robot.next_turn(), now
            self._robot.nudge()
            return True
        return now - self._asked < LONGEST_STEP_S


async def alive(robot: Robot, *, linked: bool, link: str) -> Alive:
    """Nudge the reconcile loop and say whether it came round, or is at a step that may take longer."""
    turn = robot.next_turn()
    robot.nudge()
    done, _ = await asyncio.wait([turn], timeout=_COMES_ROUND_S)
    turns = bool(done) or robot.switching or robot.ledger.trial is not None
    return Alive(release=releases.running(robot.paths), pid=os.getpid(), turns=turns, linked=linked, link=link)
