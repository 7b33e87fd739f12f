"""The course of a gradual rollout: which step it is in, who may be asked now, and what stops it.

Level-triggered: from the same robots comes the same turn. Robots that were asked stay asked: a larger share only adds to them, and who comes
next is decided by a hash of robot and rollout, not by when it joined.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from lekiwi_deploy.fleet.cohort import ALL, UNABLE, Cohort, Fate, Member, able, asked, bucket
from lekiwi_deploy.fleet.durations import span_text
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.reasons import Reason

__all__ = [
    "Course",
    "Fate",
    "Member",
    "Pause",
    "Turn",
    "Waits",
    "bucket",
    "share_size",
    "steps_of",
    "take_turn",
    "turn",
]

replace = msgspec.structs.replace


class Pause(msgspec.Struct, frozen=True):
    """A person stopped a rollout from asking anybody else."""

    by: str
    at: datetime
    why: str = ""


class Course(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a rollout stands, as it is stored. `at`: its step, from 0; `passed_at`: when that step's robots were healthy enough; `approved`:
    steps that a person let begin; `stopped`: why it stopped for good, in one line; `told`: what followers were told last that it waits
    for (`2 soak`); `min_success`: percent of all robots that must confirm; `skip_offline`: robots that were off when it began are left out;
    `expires_s`: how long a robot that does not take it is waited for; `later`: why robots that nothing else holds back are not asked."""

    steps: tuple[RolloutStep, ...] = ()
    at: int = 0
    passed_at: datetime | None = None
    approved: tuple[int, ...] = ()
    paused: Pause | None = None
    in_flight: int | None = None
    max_failures: int | None = None
    stopped: str | None = None
    told: str = ""
    min_success: float | None = None
    skip_offline: bool = False
    expires_s: float | None = None
    later: Reason | None = None

    @property
    def limited(self) -> bool:
        """Whether only so many robots may be under way at once."""
        return self.in_flight is not None or any(step.max_unavailable is not None for step in self.steps)

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
    itself; `stopped`: why the rollout must stop, in one line; `over`: every step is behind it; `nobody`: nobody tried the step for too long, in
    one line: nobody waits for that any more."""

    course: Course
    ask: tuple[RobotId, ...] = ()
    waits: Waits | None = None
    until: datetime | None = None
    stopped: str | None = None
    over: bool = False
    nobody: str | None = None


def steps_of(steps: Sequence[RolloutStep]) -> tuple[RolloutStep, ...]:
    """The steps with the last one, that means everybody, unless it is there."""
    if steps and steps[-1].robots is None and (steps[-1].percent or 100.0) >= 100.0 and steps[-1].select is None:
        return tuple(steps)
    return (*steps, ALL)


def turn(course: Course, members: Collection[Member], salt: str, now: datetime) -> Turn:
    """`take_turn` of these robots. `salt`: what their order is drawn from, the rollout's id."""
    return take_turn(course, Cohort(salt, members), now)


def take_turn(course: Course, cohort: Cohort, now: datetime) -> Turn:
    """What a rollout does now."""
    steps = steps_of(course.steps)
    why = course.stopped or _limit(course, cohort)
    if why is not None:
        return _stopped(course, why)
    while course.at < len(steps):
        result = _step(course, steps[course.at], cohort, now)
        if result is not None:
            return result
        course = replace(course, at=course.at + 1, passed_at=None)
    if course.paused is not None:
        return Turn(course, over=True)
    cohort.enter(steps[-1])
    return Turn(course, ask=cohort.first(cohort.share[Fate.FREE], course.in_flight), over=True)


def _stopped(course: Course, why: str) -> Turn:
    return Turn(replace(course, stopped=why), stopped=why)


def _step(course: Course, step: RolloutStep, cohort: Cohort, now: datetime) -> Turn | None:
    """None: this step is behind the rollout."""
    if course.paused is not None:
        return Turn(course, waits=Waits.PAUSED)
    if step.approval and course.at not in course.approved:
        return Turn(course, waits=Waits.APPROVAL)
    cohort.enter(step)
    share = cohort.share
    size = _size(step, able(share))
    missing = max(0, size - asked(share))
    last = course.at == len(steps_of(course.steps)) - 1
    if missing and share[Fate.FREE]:
        ask = cohort.first(missing, course.in_flight)
        # Where all that have the room wait for their window, so does everybody else: nobody should sit and watch for that.
        shut = last and not ask and not cohort.fates[Fate.UNDER_WAY] and not cohort.fates[Fate.LEASED]
        waits = Waits.ROBOTS if len(ask) < missing and not shut else None
        return Turn(replace(course, passed_at=None), ask=ask, waits=waits)
    if share[Fate.UNDER_WAY]:
        return Turn(replace(course, passed_at=None), waits=Waits.ROBOTS)
    healthy, failed = share[Fate.HEALTHY], share[Fate.FAILED]
    if not last and not healthy and not failed and (size or share[Fate.OFF] or share[Fate.EXPIRED]):
        # Nobody has tried it: that proves nothing, so nothing follows from it.
        return Turn(course, waits=Waits.NOBODY, nobody=None if size or share[Fate.OFF] else _nobody(course))
    if healthy * 100 < step.success * (healthy + failed) and not last:
        asked_for = f"{step.success:g} % wanted"
        return _stopped(course, f"step {course.at + 1}: {healthy} of {healthy + failed} healthy, {asked_for}")
    passed_at = course.passed_at or now
    soaked = passed_at + timedelta(seconds=step.soak_s)
    if now < soaked:
        return Turn(replace(course, passed_at=passed_at), waits=Waits.SOAK, until=soaked)
    return None


def _nobody(course: Course) -> str:
    return f"step {course.at + 1}: no robot took it within {span_text(course.expires_s or 0.0)}"


def share_size(step: RolloutStep, share: Sequence[Member]) -> int:
    """How many robots have been asked when the step is over, out of those that it selects; robots that may not be asked do not count."""
    return _size(step, sum(one.fate not in UNABLE for one in share))


def _size(step: RolloutStep, able: int) -> int:
    if step.robots is not None:
        return min(step.robots, able)
    if step.percent is not None:
        return min(able, max(1, math.ceil(able * step.percent / 100 - 1e-9))) if able else 0
    return able


def _limit(course: Course, cohort: Cohort) -> str | None:
    """Whether it failed on too many robots, in all steps together."""
    fates = cohort.fates
    failed, tried = fates[Fate.FAILED], fates[Fate.FAILED] + fates[Fate.HEALTHY]
    limit = max(2, math.ceil(tried * 0.02)) if course.max_failures is None else course.max_failures
    on_all = failed == tried and not fates[Fate.UNDER_WAY]  # whoever still tries may yet prove that it works
    if failed > limit or (failed and on_all):
        return f"it failed on {failed} of {tried} robots"
    return None
