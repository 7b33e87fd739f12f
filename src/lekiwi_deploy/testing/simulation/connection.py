"""One socket between a robot and the server: messages take time, arrive in order, and are lost when it is cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Generic, TypeVar

from lekiwi_deploy.testing.simulation.agenda import Agenda
from lekiwi_deploy.wire.link import FromRobot, FromServer

M = TypeVar("M")
_LATE = 0.02
"""So many messages take seconds."""


class _Way(Generic[M]):
    """One direction. `still_comes`: the share of messages that arrive although it was cut while they were on their way."""

    def __init__(self, agenda: Agenda, draw: random.Random, arrives: Callable[[M], None], still_comes: float) -> None:
        self._agenda, self._draw, self._arrives, self._still_comes = agenda, draw, arrives, still_comes
        self._last = 0.0
        self.cut = False

    def send(self, message: M) -> None:
        if self.cut:
            return
        slow = self._draw.random() < _LATE
        at = self._agenda.elapsed + (self._draw.uniform(0.5, 8.0) if slow else self._draw.uniform(0.002, 0.15))
        self._last = max(self._last, at)
        self._agenda.after(self._last - self._agenda.elapsed, lambda: self._deliver(message))

    def _deliver(self, message: M) -> None:
        if not self.cut or self._draw.random() < self._still_comes:
            self._arrives(message)


class Connection:
    """`to_robot`, `to_server`: send one message. After `cut` neither side hears of the other. `gone`: tells the server's side that the robot's is
    gone, which it sees after so many seconds."""

    gone: Callable[[float], None]

    def __init__(
        self,
        agenda: Agenda,
        draw: random.Random,
        robot: Callable[[FromServer], None],
        server: Callable[[FromRobot], None],
    ) -> None:
        self._to_robot = _Way(agenda, draw, robot, 0.0)
        self._to_server = _Way(agenda, draw, server, 0.5)
        self.to_robot = self._to_robot.send
        self.to_server = self._to_server.send

    @property
    def whole(self) -> bool:
        """Whether anything gets through."""
        return not self._to_robot.cut

    def cut(self) -> None:
        """The network between them is gone; this socket never works again."""
        self._to_robot.cut = self._to_server.cut = True
