"""What a rollout would do, if nothing failed: the real plan, run forward with robots that take what they are asked to.

There is no second opinion here on who comes when: `fleet.rollout.plan` says it, and a robot that it asks is healthy by the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.course import Course, steps_of
from lekiwi_deploy.fleet.durations import span_text
from lekiwi_deploy.fleet.rollout import Seen, Standing, Target, plan
from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.forecast import StepForecast
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep


@dataclass(frozen=True, slots=True)
class Foreseen:
    """`step`: in which each robot would be asked, from 1; who is not in it would not be. `standings`: of every robot, at the first look: why one may
    not have it stands there. `steps`: what is in them; `stuck`: the step, from 1, that would have nobody to try it (its robots are off or may not
    have it), from which on a rollout waits for a person."""

    step: Mapping[RobotId, int]
    standings: Mapping[RobotId, Standing]
    steps: tuple[StepForecast, ...]
    stuck: int | None = None


def foresee(
    target: Target, robots: Iterable[Seen], now: datetime, course: Course, there: Collection[RobotId] = ()
) -> Foreseen:
    """Runs the rollout of `target` forward from `now`, when nobody was asked yet. `there`: robots that run it already, the same content and the same
    variables: they confirm at once and are in no step."""
    steps = steps_of(course.steps)
    unbound = tuple(msgspec.structs.replace(step, max_unavailable=None, per=None, approval=False) for step in steps)
    course = msgspec.structs.replace(
        course, steps=unbound, in_flight=None
    )  # how many at once says nothing of who is in which step
    seen = {robot.id: _there(robot) if robot.id in there else robot for robot in robots}
    asked: dict[RobotId, int] = {}
    begins: dict[int, datetime] = {}
    first: Mapping[RobotId, Standing] | None = None
    stuck: int | None = None
    at = now
    while True:
        decided = plan(target, seen.values(), at, course)
        first = decided.standings if first is None else first
        number = min(decided.course.at + 1, len(steps))
        for one in range(1, number + 1):
            begins.setdefault(one, at)
        for id in decided.assign:
            asked[id] = number
            seen[id] = _took(seen[id], at)
        moved_on = decided.course != course
        course = decided.course
        if decided.assign:
            continue
        if course.at >= len(steps) or course.stopped is not None:
            break
        if decided.until is not None and decided.until > at:
            at = decided.until
        elif not moved_on or decided.waits is not None:
            # Nobody is there to try this step: what follows is as if a person skipped it.
            if not any(one.status is RobotStatus.PENDING for one in decided.standings.values()):
                break
            stuck = stuck or number
            course = msgspec.structs.replace(course, at=course.at + 1, passed_at=None)
    counts = dict.fromkeys(range(1, len(steps) + 1), 0)
    for number in asked.values():
        counts[number] += 1
    told = tuple(
        StepForecast(number=number, robots=counts[number], text=step_text(step, course), not_before=begins.get(number))
        for number, step in enumerate(steps, 1)
    )
    return Foreseen(asked, first, told, stuck)


def _there(robot: Seen) -> Seen:
    return replace(robot, status=RobotStatus.GOOD, assigned=robot.generation, pin=None)


def _took(robot: Seen, at: datetime) -> Seen:
    """The robot after it was asked: one that is there takes it; one that is not keeps nothing waiting."""
    if robot.online:
        return replace(robot, status=RobotStatus.GOOD, assigned=robot.generation, assigned_at=at)
    return replace(robot, status=RobotStatus.PENDING, assigned=robot.generation, assigned_at=at, last_seen_at=None)


def step_text(step: RolloutStep, course: Course = Course()) -> str:  # noqa: B008 - frozen
    """A step's conditions, in the order in which they come: `approval first, 95 % healthy, soak 10m`."""
    said = ["after an approval"] if step.approval else []
    said += [f"robots with {step.select}"] if step.select else []
    if step.robots is not None:
        said.append(f"until {step.robots} in all")
    elif step.percent is not None and step.percent < 100:
        said.append(f"until {step.percent:g} % in all")
    if step.max_unavailable is not None:
        said.append(f"{step.max_unavailable} at once" + (f" per {step.per}" if step.per else ""))
    if step.soak_s:
        said.append(f"soak {span_text(step.soak_s)}")
    return ", ".join(said)
