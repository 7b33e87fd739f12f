"""The conductor's loop in virtual time: the same steps as `server/conductor.py` takes, but looked at when something can have changed instead of
every two seconds."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

from lekiwi_deploy.fleet.course import steps_of
from lekiwi_deploy.server import conductor
from lekiwi_deploy.server.conducting_store import Stage
from lekiwi_deploy.server.looking import Memory
from lekiwi_deploy.server.store.conducting import Look
from lekiwi_deploy.testing.simulation.memory.database import at_once
from lekiwi_deploy.testing.simulation.memory.tables import Tables
from lekiwi_deploy.wire.api import RolloutStatus

UNDER_WAY_S = 10.0
"""How often it looks while an answer is expected: times run out meanwhile."""
IDLE_S = 600.0
_UNDER_WAY = {"assigned", "fetching", "switching"}


class _Defects(logging.Handler):
    """What the conductor logs and goes on after, because a server must; here it ends the run."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found = record.exc_info[1]


class Conducting:
    """Of one server process, which begins at `since`."""

    def __init__(self, stage: Stage, since: datetime) -> None:
        self._stage, self._since = stage, since
        self._first = True
        self._memory = Memory()

    def step(self, hints: Collection[str]) -> set[str]:
        """One step of every rollout that is due. Those that failed, to try again."""
        look: Look = "all" if self._first else "open"
        self._first = False
        logger, defects = logging.getLogger("lekiwi.conductor"), _Defects()
        logger.addHandler(defects)
        propagates, logger.propagate = logger.propagate, False
        try:
            again = at_once(conductor.advance_due(self._stage, self._since, hints, look=look, memory=self._memory))
        finally:
            logger.removeHandler(defects)
            logger.propagate = propagates
        if defects.found is not None:
            raise defects.found
        return again

    def look_again_in(self, tables: Tables, now: datetime) -> float | None:
        """Seconds until a step may do something although nothing happened; None: no rollout is open."""
        times: list[float] = []
        live = {one.live_rollout for one in tables.environments.values()}
        for row in tables.rollouts.values():
            open = row.status == RolloutStatus.ROLLING
            if not open and row.id not in live:
                continue
            asked = tables.asked[row.id].values()
            times += [(one.look_at - now).total_seconds() for one in asked if one.look_at is not None]
            if not open:
                continue
            times.append(UNDER_WAY_S if any(one.status in _UNDER_WAY for one in asked) else IDLE_S)
            course = row.course
            steps = steps_of(course.steps)
            if course.passed_at is not None and course.at < len(steps):
                soaked = course.passed_at + timedelta(seconds=steps[course.at].soak_s)
                times.append((soaked - now).total_seconds())
        return max(0.1, min(times)) if times else None
