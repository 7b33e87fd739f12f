"""Virtual time: what is to happen next, and a clock that jumps there."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""When every simulation begins: a Monday morning, four weeks before clocks change in Europe."""


@dataclass(eq=False, slots=True)
class Appointment:
    """Something that will happen. `what` None: it was called off, or has happened."""

    elapsed: float
    what: Callable[[], None] | None

    def cancel(self) -> None:
        """It will not happen."""
        self.what = None


@dataclass(slots=True)
class Agenda:
    """`elapsed`: seconds since the start. What is due at the same moment happens in the order in which it was put down."""

    start: datetime = START
    elapsed: float = 0.0
    happened: int = 0
    _heap: list[tuple[float, int, Appointment]] = field(default_factory=list)
    _count: int = 0

    @property
    def now(self) -> datetime:
        """The true time, which no clock in the simulation but the server's shows."""
        return self.start + timedelta(seconds=self.elapsed)

    def after(self, seconds: float, what: Callable[[], None]) -> Appointment:
        """Puts `what` down for `seconds` from now, at once if that is negative."""
        self._count += 1
        appointment = Appointment(self.elapsed + max(0.0, seconds), what)
        heapq.heappush(self._heap, (appointment.elapsed, self._count, appointment))
        return appointment

    def run(self, until: float) -> None:
        """Lets everything happen that is due up to `until` seconds since the start, which is the time then."""
        while self._heap and self._heap[0][0] <= until:
            due, _, appointment = heapq.heappop(self._heap)
            what, appointment.what = appointment.what, None
            if what is not None:
                self.elapsed = max(self.elapsed, due)
                self.happened += 1
                what()
        self.elapsed = max(self.elapsed, until)
