"""How soon a bad release is found, and how seldom a good one is taken for bad: the planner itself, with outcomes that are drawn."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lekiwi_deploy.fleet.cohort import Cohort, Fate, Member
from lekiwi_deploy.fleet.course import Course, take_turn
from lekiwi_deploy.testing.simulation.agenda import START
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import RolloutStep

CANARY_PERCENT = 1.0
WAVE = 250
AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Ended:
    """How one rollout ended: `asked` robots had been asked for it, on `failed` it failed. `stopped`: why, None: it went to all."""

    asked: int
    failed: int
    stopped: str | None


def course(robots: int, wave: int = WAVE) -> Course:
    """The proposed default: a canary step, then waves, 10 robots under way at once; it stops at 2 failures, or 2 % of those that tried it if
    that is more, or when a step has less than 95 % healthy."""
    canary = max(1, round(robots * CANARY_PERCENT / 100))
    sizes = range(canary + wave, robots, wave)
    steps = (RolloutStep(robots=canary), *(RolloutStep(robots=size) for size in sizes), RolloutStep())
    return Course(steps=steps, in_flight=AT_ONCE)


def first_two(robots: int, wave: int = WAVE) -> int:
    """Robots of the canary step and one wave."""
    return min(robots, max(1, round(robots * CANARY_PERCENT / 100)) + wave)


def roll_out(seed: int, robots: int, fails: float, wave: int = WAVE) -> Ended:
    """One rollout of a release that fails on each robot with probability `fails`, to its end. Answers come ten at a time."""
    draw = random.Random(f"detection {seed}")
    cohort = Cohort(f"rol_{seed}", (Member(RobotId(f"r{number}"), Fate.FREE) for number in range(robots)))
    now, standing = START, course(robots, wave)
    asked = failed = 0
    while True:
        turn = take_turn(standing, cohort, now)
        standing = turn.course
        if turn.stopped is not None or not turn.ask:
            return Ended(asked, failed, turn.stopped)
        asked += len(turn.ask)
        for robot in turn.ask:
            bad = draw.random() < fails
            failed += bad
            cohort.put(Member(robot, Fate.FAILED if bad else Fate.HEALTHY))
