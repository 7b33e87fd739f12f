"""The course of a gradual rollout: which step it is in, who may be asked now, and what stops it.

Level-triggered: from the same robots comes the same turn. Robots that were asked stay asked: a larger share only adds to them, and who comes
next is decided by a hash of robot and rollout, not by when it joined.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep

replace = msgspec.structs.replace

ALL = RolloutStep()
"""The last step: everybody. Added when the steps do not end with it."""


class Fate(StrEnum):
    """How a robot fares, as far as the course looks at it."""

    FREE = "free"  # may be asked
    BARRED = "barred"  # may not (pinned, quarantined there, not built for it): `Standing` says why
    UNDER_WAY = "under_way"  # asked, an answer is expected
    AWAY = "away"  # asked, but not there: it holds nothing up
    HEALTHY = "healthy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Member:
    """One robot. `well`: what it runs now is healthy. A robot that is not well goes first: a broken version never blocks its own fix."""

    id: RobotId
    fate: Fate
    online: bool = True
    well: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> bool:
        """Whether it was given the deployment by this rollout."""
        return self.fate not in (Fate.FREE, Fate.BARRED)


class Pause(msgspec.Struct, frozen=True):
    """A person stopped a rollout from asking anybody else."""

    by: str
    at: datetime
    why: str = ""


class Course(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a rollout stands, as it is stored. `at`: its step, from 0; `passed_at`: when that step's robots were healthy enough; `approved`:
    steps that a person let begin; `stopped`: why it stopped for good, in one line; `told`: what followers were told last that it waits
    for (`2 soak`)."""

    steps: tuple[RolloutStep, ...] = ()
    at: int = 0
    passed_at: datetime | None = None
    approved: tuple[int, ...] = ()
    paused: Pause | None = None
    in_flight: int | None = None
    max_failures: int | None = None
    stopped: str | None = None
    told: str = ""

    @property
    def length(self) -> int:
        """How many steps there are, the last one for everybody included."""
        return len(steps_of(self.steps))


class Waits(StrEnum):
    """Why nobody (more) is asked now."""

    PAUSED = "paused"
    APPROVAL = "approval"
    ROBOTS = "robots"  # answers are awaited
    SOAK = "soak"
    NOBODY = "nobody"  # the step wants robots that are not there


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do now. `course`: to store, if it differs; `ask`: who is asked now, in order; `waits`: why not more, `until` when it ends by
    itself; `stopped`: why the rollout must stop, in one line; `over`: every step is behind it."""

    course: Course
    ask: tuple[RobotId, ...] = ()
    waits: Waits | None = None
    until: datetime | None = None
    stopped: str | None = None
    over: bool = False


def steps_of(steps: Sequence[RolloutStep]) -> tuple[RolloutStep, ...]:
    """The steps with the last one, that means everybody, unless it is there."""
    if steps and steps[-1].robots is None and (steps[-1].percent or 100.0) >= 100.0 and steps[-1].select is None:
        return tuple(steps)
    return (*steps, ALL)


def turn(course: Course, members: Collection[Member], salt: str, now: datetime) -> Turn:
    """What a rollout does now. `salt`: what its order is drawn from, the rollout's id."""
    steps = steps_of(course.steps)
    why = course.stopped or _limit(course, members)
    if why is not None:
        return _stopped(course, why)
    while course.at < len(steps):
        result = _step(course, steps[course.at], members, salt, now)
        if result is not None:
            return result
        course = replace(course, at=course.at + 1, passed_at=None)
    late = _ordered([one for one in members if one.fate is Fate.FREE], salt)
    return Turn(course, ask=() if course.paused is not None else _room(course, steps[-1], late, members), over=True)


def _stopped(course: Course, why: str) -> Turn:
    return Turn(replace(course, stopped=why), stopped=why)


def _step(course: Course, step: RolloutStep, members: Collection[Member], salt: str, now: datetime) -> Turn | None:
    """None: this step is behind the rollout."""
    if course.paused is not None:
        return Turn(course, waits=Waits.PAUSED)
    if step.approval and course.at not in course.approved:
        return Turn(course, waits=Waits.APPROVAL)
    share = [one for one in members if _selected(step, one)]
    asked = [one for one in share if one.asked]
    size = share_size(step, share)
    free = [one for one in share if one.fate is Fate.FREE]
    missing = max(0, size - len(asked))
    if missing and free:
        ask = _room(course, step, _ordered(free, salt)[:missing], members)
        return Turn(replace(course, passed_at=None), ask=ask, waits=Waits.ROBOTS if len(ask) < missing else None)
    if any(one.fate is Fate.UNDER_WAY for one in asked):
        return Turn(replace(course, passed_at=None), waits=Waits.ROBOTS)
    healthy = sum(one.fate is Fate.HEALTHY for one in asked)
    failed = sum(one.fate is Fate.FAILED for one in asked)
    last = course.at == len(steps_of(course.steps)) - 1
    if not last and size and not healthy and not failed:
        # Nobody has tried it: that proves nothing, so nothing follows from it.
        return Turn(course, waits=Waits.NOBODY)
    if healthy * 100 < step.success * (healthy + failed) and not last:
        asked_for = f"{step.success:g} % wanted"
        return _stopped(course, f"step {course.at + 1}: {healthy} of {healthy + failed} healthy, {asked_for}")
    passed_at = course.passed_at or now
    soaked = passed_at + timedelta(seconds=step.soak_s)
    if now < soaked:
        return Turn(replace(course, passed_at=passed_at), waits=Waits.SOAK, until=soaked)
    return None


def share_size(step: RolloutStep, share: Sequence[Member]) -> int:
    """How many robots have been asked when the step is over, out of those that it selects; robots that may not be asked do not count."""
    able = sum(one.fate is not Fate.BARRED for one in share)
    if step.robots is not None:
        return min(step.robots, able)
    if step.percent is not None:
        return min(able, max(1, math.ceil(able * step.percent / 100 - 1e-9))) if able else 0
    return able


def bucket(robot: RobotId, salt: str) -> float:
    """Where a robot stands in the order of a rollout, 0 to 1: the same for ever, and independent of other rollouts."""
    digest = hashlib.sha256(f"{salt}\0{robot}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _ordered(free: Sequence[Member], salt: str) -> list[Member]:
    """Who is asked first: robots that are there, before those that are not; those that are not well; then by bucket."""
    return sorted(free, key=lambda one: (not one.online, one.well, bucket(one.id, salt), one.id))


def _selected(step: RolloutStep, member: Member) -> bool:
    return step.select is None or parse_selector(step.select).fits(member.labels)


def _room(
    course: Course, step: RolloutStep, wanted: Sequence[Member], members: Collection[Member]
) -> tuple[RobotId, ...]:
    """As many of `wanted`, in order, as may be under way at once. A robot that is not there takes no room: it is asked when it returns."""
    under_way = [one for one in members if one.fate is Fate.UNDER_WAY]
    total = len(under_way)
    groups = Counter(_group(step, one) for one in under_way)
    chosen: list[RobotId] = []
    for one in wanted:
        if one.online:
            if course.in_flight is not None and total >= course.in_flight:
                continue
            group = _group(step, one)
            if step.max_unavailable is not None and groups[group] >= step.max_unavailable:
                continue
            total += 1
            groups[group] += 1
        chosen.append(one.id)
    return tuple(chosen)


def _group(step: RolloutStep, member: Member) -> str:
    return "" if step.per is None else member.labels.get(step.per, "")


def _limit(course: Course, members: Collection[Member]) -> str | None:
    """Whether it failed on too many robots, in all steps together."""
    fates = Counter(one.fate for one in members)
    failed, tried = fates[Fate.FAILED], fates[Fate.FAILED] + fates[Fate.HEALTHY]
    limit = max(2, math.ceil(tried * 0.02)) if course.max_failures is None else course.max_failures
    on_all = failed == tried and not fates[Fate.UNDER_WAY]  # whoever still tries may yet prove that it works
    if failed > limit or (failed and on_all):
        return f"it failed on {failed} of {tried} robots"
    return None
