"""The robots of a rollout as its course looks at them: tallies and an order that are kept while single robots change.

Putting a robot in, or taking it out, costs the same in a fleet of any size; only going on to another step looks at all of them once.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep

ALL = RolloutStep()
"""The last step: everybody. Added when the steps do not end with it."""


class Fate(StrEnum):
    """How a robot fares, as far as the course looks at it."""

    FREE = "free"  # may be asked
    BARRED = "barred"  # may not (pinned, quarantined there, not built for it): `Standing` says why
    OFF = "off"  # not there, and asked when it returns: then there has to be room for it
    EXPIRED = "expired"  # did not take it for too long: nobody waits for it
    UNDER_WAY = "under_way"  # asked, an answer is expected
    LEASED = "leased"  # asked, and lost its link a while ago: it may be switching, so it keeps its room
    SHUT = "shut"  # asked, and waits for its window: it goes on by itself, so it keeps its room
    AWAY = "away"  # asked, but not there: it holds nothing up
    HEALTHY = "healthy"
    FAILED = "failed"


_NOT_ASKED = (Fate.FREE, Fate.BARRED, Fate.OFF, Fate.EXPIRED)
UNABLE = (Fate.BARRED, Fate.OFF, Fate.EXPIRED)
"""Those that a step does without."""
_IN_ROOM = (Fate.UNDER_WAY, Fate.LEASED, Fate.SHUT)


class Member(msgspec.Struct, frozen=True):
    """One robot. `well`: what it runs now is healthy. A robot that is not well goes first: a broken version never blocks its own fix."""

    id: RobotId
    fate: Fate
    online: bool = True
    well: bool = True
    labels: Mapping[str, str] = {}

    @property
    def asked(self) -> bool:
        """Whether it was given the deployment by this rollout, and counts."""
        return self.fate not in _NOT_ASKED


Place = tuple[int, bytes, RobotId]
"""Where a robot stands in the order in which robots are asked: those that are there, before those that are not; those that are not well first;
then by bucket."""
_OFFLINE = 2


class Cohort:
    """All robots of a rollout. `fates`: how many fare how; the rest is about the step that was entered last: `share`, how many of the robots
    that it selects fare how; `groups`, how many of all robots are under way for each value of its label."""

    def __init__(self, salt: str, members: Iterable[Member] = ()) -> None:
        """`salt`: what the order is drawn from, the rollout's id."""
        self.fates: Counter[Fate] = Counter()
        self.share: Counter[Fate] = Counter()
        self.groups: Counter[str] = Counter()
        self._salt = hashlib.sha256(f"{salt}\0".encode())
        self._members: dict[RobotId, Member] = {}
        self._buckets: dict[RobotId, bytes] = {}
        self._step: RolloutStep | None = None
        self._order: list[Place] = []
        for member in members:
            self._members[member.id] = member
            self.fates[member.fate] += 1

    def put(self, member: Member) -> None:
        """Takes `member` in, in place of what it was before."""
        before = self._members.get(member.id)
        if before == member:
            return
        if before is not None:
            self.drop(member.id)
        self._members[member.id] = member
        self.fates[member.fate] += 1
        if self._step is not None:
            self._tally(self._step, member, 1)
            if member.fate is Fate.FREE and self._selected(self._step, member):
                insort(self._order, self._place(member))

    def drop(self, id: RobotId) -> None:
        """Takes a robot out, if it is in."""
        member = self._members.pop(id, None)
        if member is None:
            return
        self.fates[member.fate] -= 1
        if self._step is not None:
            self._tally(self._step, member, -1)
            if member.fate is Fate.FREE and self._selected(self._step, member):
                del self._order[bisect_left(self._order, self._place(member))]

    def enter(self, step: RolloutStep) -> None:
        """From now on `share`, `groups` and `first` are about this step."""
        if step == self._step:
            return
        self._step, self.share, self.groups = step, Counter(), Counter()
        free = self._members.values() if step.select is None else filter(self._in_step, self._members.values())
        self._order = sorted(self._place(one) for one in free if one.fate is Fate.FREE)
        if step.select is None:
            self.share = self.fates.copy()
            under_way = [one for one in self._members.values() if one.fate in _IN_ROOM]
            self.groups.update(_group(step, one) for one in under_way)
            return
        for member in self._members.values():
            self._tally(step, member, 1)

    def first(self, count: int, in_flight: int | None) -> tuple[RobotId, ...]:
        """Who is asked of the `count` robots of the step that come next, in order: as many as may be under way at once. Where any number
        may, robots that are not there are asked too, and take it when they return."""
        step = self._step
        assert step is not None
        split = min(count, bisect_left(self._order, (_OFFLINE, b"", RobotId(""))))
        away = [id for _, _, id in self._order[split:count]]
        room = split if in_flight is None else max(0, in_flight - sum(self.fates[fate] for fate in _IN_ROOM))
        if step.max_unavailable is None:
            return (*(id for _, _, id in self._order[: min(split, room)]), *away)
        chosen: list[RobotId] = []
        groups = self.groups.copy()
        for _, _, id in self._order[:split]:
            if len(chosen) >= room:
                break
            group = _group(step, self._members[id])
            if groups[group] < step.max_unavailable:
                groups[group] += 1
                chosen.append(id)
        return (*chosen, *away)

    def _tally(self, step: RolloutStep, member: Member, one: int) -> None:
        if self._selected(step, member):
            self.share[member.fate] += one
        if member.fate in _IN_ROOM:
            self.groups[_group(step, member)] += one

    def _in_step(self, member: Member) -> bool:
        return self._step is not None and self._selected(self._step, member)

    @staticmethod
    def _selected(step: RolloutStep, member: Member) -> bool:
        return step.select is None or parse_selector(step.select).fits(member.labels)

    def _place(self, member: Member) -> Place:
        bucket = self._buckets.get(member.id)
        if bucket is None:
            digest = self._salt.copy()
            digest.update(member.id.encode())
            bucket = self._buckets[member.id] = digest.digest()[:8]
        return ((0 if member.online else _OFFLINE) + member.well, bucket, member.id)


def asked(share: Mapping[Fate, int]) -> int:
    """How many were given the deployment by this rollout, and count."""
    return sum(count for fate, count in share.items() if fate not in _NOT_ASKED)


def able(share: Mapping[Fate, int]) -> int:
    """How many may be asked, or were."""
    return sum(count for fate, count in share.items() if fate not in UNABLE)


def bucket(robot: RobotId, salt: str) -> float:
    """Where a robot stands in the order of a rollout, 0 to 1: the same for ever, and independent of other rollouts."""
    digest = hashlib.sha256(f"{salt}\0{robot}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _group(step: RolloutStep, member: Member) -> str:
    return "" if step.per is None else member.labels.get(step.per, "")
