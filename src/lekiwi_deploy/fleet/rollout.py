"""The plan of a rollout: who moves now, who does not and why, what has become of each robot, and the verdict.

Level-triggered: the same robots give the same plan, in any order and as often as it is asked. `plan` looks at all of them; a `Fleet` is told what
changed and looks at that alone, and at robots whose time has come: what it plans is the same.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from lekiwi_deploy.fleet.cohort import Cohort, Fate, Member
from lekiwi_deploy.fleet.course import Course, Turn, take_turn
from lekiwi_deploy.fleet.standing import (
    CONFIRMED,
    FINAL,
    GRACE,
    PATIENCE,
    SILENCE,
    Seen,
    Standing,
    Target,
    asked_standing,
    holding_back,
    is_overdue,
    looks_again,
    standing_of,
    was_overdue,
)
from lekiwi_deploy.fleet.verdict import Verdict, judge
from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.progress import RolloutWaits
from lekiwi_deploy.wire.reasons import (
    Halted,
    LaterStep,
    Offline,
    Reason,
    RolloutPaused,
    Skipped,
    WindowClosed,
    sentence,
)

__all__ = [
    "CONFIRMED", "FINAL", "GRACE", "PATIENCE", "SILENCE", "Fleet", "Plan", "Seen", "Standing", "Target", "holding_back", "plan",
]  # fmt: skip

_AT_ONCE = Course()
_OURS = (LaterStep, RolloutPaused, Halted)
"""Reasons that follow from where the rollout stands, the same for all that it has not come to: kept with it, not with each robot."""


class Standings(Mapping[RobotId, Standing]):
    """Where every robot stands: those that the rollout has not come to all stand at `later`."""

    def __init__(self, known: Mapping[RobotId, Standing], free: Mapping[RobotId, None], later: Standing) -> None:
        self._known, self._free, self.later = known, free, later

    def __getitem__(self, id: RobotId) -> Standing:
        found = self._known.get(id)
        if found is not None:
            return found
        if id in self._free:
            return self.later
        raise KeyError(id)

    def __iter__(self) -> Iterator[RobotId]:
        return chain(self._known, (id for id in self._free if id not in self._known))

    def __len__(self) -> int:
        return len(self._known) + sum(id not in self._known for id in self._free)


@dataclass(frozen=True, slots=True)
class Plan:
    """`assign`: who is given the deployment now, in order; `standings`: of every robot; `changed`: those whose standing differs
    from what is recorded, `moved` those whose status does; `overdue`: who holds it off for longer than allowed, and nobody was told yet;
    `course`: where it stands now; `until`: when to look again, though nothing happens; `waits`: what people are told that it waits for;
    `later`: why those that nothing else holds back are not asked, kept with the rollout and not with each of them; `good` and `ever`: on how
    many robots it is good, and was healthy once; `nobody`: why it waits no longer for a step that no robot took."""

    verdict: Verdict
    assign: tuple[RobotId, ...]
    standings: Standings
    changed: tuple[RobotId, ...]
    moved: tuple[RobotId, ...]
    overdue: tuple[RobotId, ...] = ()
    course: Course = _AT_ONCE
    until: datetime | None = None
    waits: RolloutWaits | None = None
    later: Reason | None = None
    good: int = 0
    ever: int = 0
    nobody: str | None = None

    @property
    def waiting(self) -> dict[RobotId, tuple[Reason, ...]]:
        """The reasons of all that wait."""
        return {id: one.waiting for id, one in self.standings.items() if one.waiting}


def plan(target: Target, robots: Iterable[Seen], now: datetime, course: Course = _AT_ONCE) -> Plan:
    """What to do about `target` now: whoever is not held back moves when the `course` comes to it."""
    fleet = Fleet(target.rollout)
    fleet.update(robots)
    return fleet.plan(target, now, course)


class Fleet:
    """The robots of one rollout, kept from plan to plan. Whoever keeps it tells it of all that was written of them since, what the last plan led to
    included."""

    def __init__(self, rollout: str) -> None:
        """`rollout`: its id."""
        self._seen: dict[RobotId, Seen] = {}
        self._known: dict[RobotId, Standing] = {}
        self._free: dict[RobotId, None] = {}
        self._cohort = Cohort(rollout)
        self._fresh: dict[RobotId, None] = {}
        self._looks: dict[RobotId, datetime] = {}
        self._times: list[tuple[datetime, RobotId]] = []
        self._target: Target | None = None
        self._statuses: Counter[RobotStatus] = Counter()
        self._reachable = self._barred = self._ever = self._skipped = 0

    def __len__(self) -> int:
        return len(self._seen)

    def robot(self, id: RobotId) -> Seen:
        """The robot as it was told last."""
        return self._seen[id]

    def update(self, robots: Iterable[Seen], gone: Iterable[RobotId] = ()) -> None:
        """These robots are so now; those in `gone` are none of the rollout's any more."""
        for id in gone:
            self._forget(id)
        for robot in robots:
            before = self._seen.get(robot.id)
            self._ever += robot.confirmed - (before is not None and before.confirmed)
            self._seen[robot.id] = robot
            self._fresh[robot.id] = None

    def due(self, now: datetime) -> list[RobotId]:
        """Robots that may stand elsewhere by now although nothing was written of them."""
        due: dict[RobotId, None] = {}
        while self._times and self._times[0][0] <= now:
            at, id = heapq.heappop(self._times)
            if self._looks.get(id) == at:
                del self._looks[id]
                due[id] = None
        self._fresh.update(due)
        return list(due)

    def plan(self, target: Target, now: datetime, course: Course = _AT_ONCE) -> Plan:
        """As `plan` of all its robots."""
        if target != self._target:
            if self._target is not None:
                self._fresh = dict.fromkeys(self._seen)
            self._target = target
        self.due(now)
        looked = sorted(self._fresh)
        self._fresh = {}
        for id in looked:
            self._look(target, self._seen[id], now)
        decided = take_turn(course, self._cohort, now)
        return self._told(target, looked, decided, now)

    def _look(self, target: Target, robot: Seen, now: datetime) -> None:
        one = standing_of(target, robot, now)
        before = self._known.pop(robot.id, None)
        if before is not None:
            self._count(before, -1)
        if one is None:
            self._free[robot.id] = None
        else:
            self._free.pop(robot.id, None)
            self._known[robot.id] = one
            self._count(one, 1)
        self._cohort.put(_member(target, robot, one))
        at = looks_again(target, robot, now)
        if at is None:
            self._looks.pop(robot.id, None)
        elif self._looks.get(robot.id) != at:
            self._looks[robot.id] = at
            heapq.heappush(self._times, (at, robot.id))

    def _told(self, target: Target, looked: list[RobotId], decided: Turn, now: datetime) -> Plan:
        statuses = self._statuses.copy()
        reachable = self._reachable
        given: dict[RobotId, Standing] = {}
        for id in decided.ask:
            one = given[id] = asked_standing(target, self._seen[id], now)
            statuses[one.status] += 1
            reachable += one.reachable
        left = len(self._free) - len(given)
        failed = statuses[RobotStatus.ROLLED_BACK] + statuses[RobotStatus.FAILED]
        later = _not_yet(target, decided, failed)
        known = {**self._known, **given} if given else self._known
        standings = Standings(known, self._free, Standing(RobotStatus.PENDING, (later,)))
        looked = sorted({*looked, *given}) if given else looked
        pairs = [(self._seen[id], known.get(id)) for id in looked]
        return Plan(
            verdict=judge(
                goes_on=bool(left) and decided.waits is not None and decided.nobody is None,
                confirmed=statuses[RobotStatus.HEALTHY] + statuses[RobotStatus.GOOD],
                rolled_back=statuses[RobotStatus.ROLLED_BACK],
                failed=statuses[RobotStatus.FAILED],
                barred=self._barred,
                under_way=0 if decided.stopped is not None else reachable,
                superseded=statuses[RobotStatus.SUPERSEDED],
                skipped=self._skipped,
                total=len(self._seen),
                short=decided.nobody is not None,
                min_success=decided.course.min_success,
            ),
            assign=decided.ask,
            standings=standings,
            changed=tuple(robot.id for robot, one in pairs if _differs(robot, one)),
            moved=tuple(
                robot.id
                for robot, one in pairs
                if robot.status is not (RobotStatus.PENDING if one is None else one.status)
            ),
            overdue=tuple(
                robot.id for robot, one in pairs if one is not None and is_overdue(one) and not was_overdue(robot)
            ),
            course=decided.course,
            until=decided.until,
            waits=_waits(decided, later) if left and decided.stopped is None else None,
            later=later if left else None,
            good=statuses[RobotStatus.GOOD],
            nobody=decided.nobody,
            ever=self._ever
            + sum(one is not None and one.status in CONFIRMED and not robot.confirmed for robot, one in pairs),
        )

    def _count(self, one: Standing, by: int) -> None:
        self._statuses[one.status] += by
        self._reachable += by * one.reachable
        self._barred += by * (one.status is RobotStatus.HELD and one.to_blame)
        self._skipped += by * _was_skipped(one)

    def _forget(self, id: RobotId) -> None:
        robot = self._seen.pop(id, None)
        if robot is None:
            return
        self._ever -= robot.confirmed
        known = self._known.pop(id, None)
        if known is not None:
            self._count(known, -1)
        self._free.pop(id, None)
        self._fresh.pop(id, None)
        self._looks.pop(id, None)
        self._cohort.drop(id)


def _was_skipped(one: Standing) -> bool:
    return bool(one.waiting) and isinstance(one.waiting[-1], Skipped)


def _member(target: Target, robot: Seen, one: Standing | None) -> Member:
    """The robot as the course looks at it."""
    if one is None:
        fate = Fate.FREE
    elif one.status in CONFIRMED:
        fate = Fate.HEALTHY
    elif one.status in (RobotStatus.ROLLED_BACK, RobotStatus.FAILED):
        fate = Fate.FAILED
    elif one.reachable:
        fate = Fate.UNDER_WAY
    elif one.expired:
        fate = Fate.EXPIRED
    elif robot.assigned is None and target.limited and one.waiting and isinstance(one.waiting[-1], Offline):
        fate = Fate.OFF
    elif robot.assigned is None or one.status in (RobotStatus.HELD, RobotStatus.SUPERSEDED):
        fate = Fate.BARRED
    elif target.limited and robot.online and any(isinstance(reason, WindowClosed) for reason in one.waiting):
        fate = Fate.SHUT
    elif one.leased:
        fate = Fate.LEASED
    else:
        fate = Fate.AWAY
    running = robot.report.running if robot.report is not None else None
    return Member(robot.id, fate, robot.online, running is not None and running.healthy, robot.labels)


def _not_yet(target: Target, decided: Turn, failed: int) -> Reason:
    """Why a robot that nothing holds back is not asked now."""
    course = decided.course
    if decided.stopped is not None:
        return Halted(failed, decided.stopped)
    if course.paused is not None:
        return RolloutPaused(rollout=target.rollout, by=course.paused.by, since=course.paused.at, why=course.paused.why)
    what = decided.waits.value if decided.waits is not None else "room"
    step = min(course.at + 1, course.length)
    return LaterStep(rollout=target.rollout, step=step, of=course.length, what=what, until=decided.until)


def _waits(decided: Turn, later: Reason) -> RolloutWaits | None:
    """What people are told that it waits for; None: for nothing but the answers of robots."""
    what = "paused" if decided.course.paused is not None else decided.waits.value if decided.waits is not None else ""
    if what not in ("soak", "approval", "nobody", "paused"):
        return None
    course = decided.course
    text = sentence(later).rpartition(": ")[2] if what != "paused" else ""
    if what == "paused" and course.paused is not None:
        text = f"paused by {course.paused.by}" + (f" ({course.paused.why})" if course.paused.why else "")
    return RolloutWaits(at=course.at + 1, of=course.length, what=what, text=text, until=decided.until)


def _differs(robot: Seen, one: Standing | None) -> bool:
    """Whether something else is recorded of it than where it stands. None: the rollout has not come to it."""
    if one is None:
        if robot.status is not RobotStatus.PENDING or robot.outcome is not None or robot.deferring_since is not None:
            return True
        return bool(robot.waiting) and not all(isinstance(reason, _OURS) for reason in robot.waiting)
    recorded_as = (robot.status, robot.outcome, robot.waiting, robot.deferring_since)
    return recorded_as != (one.status, one.outcome, one.waiting, one.deferring_since)
