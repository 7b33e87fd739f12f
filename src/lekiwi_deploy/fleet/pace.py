"""The steps of one deployment whose pace somebody chose: never faster than the environment's policy, unless by force."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from lekiwi_deploy.errors import BadInput, Blocked
from lekiwi_deploy.wire.pace import Pace, Strategy
from lekiwi_deploy.wire.policy import RolloutStep

MAX_SOAK_S = 7 * 86400.0
_WAVE = 25.0


def check_pace(pace: Pace) -> None:
    """Raises `BadInput` for what cannot be meant."""
    if pace.canary_robots is not None and pace.canary_percent is not None:
        raise BadInput("give the canary as a number of robots or as a share, not as both")
    if pace.canary_robots is not None and not 1 <= pace.canary_robots <= 100_000:
        raise BadInput(f"a canary of {pace.canary_robots} robots: give 1 or more")
    for name, percent in (("canary", pace.canary_percent), ("wave", pace.wave_percent)):
        if percent is not None and not 0 < percent <= 100:
            raise BadInput(f"a {name} of {percent:g} %: give more than 0 % and at most 100 %")
    if not 0 <= pace.soak_s <= MAX_SOAK_S:
        raise BadInput("a soak lasts at most 7 days")
    if pace.strategy is Strategy.ALL and (pace.canary_robots or pace.canary_percent or pace.wave_percent):
        raise BadInput("all asks everybody at once: it goes with neither a canary nor waves")


def steps_at(pace: Pace, policy: Sequence[RolloutStep], robots: int, *, force: bool) -> tuple[RolloutStep, ...]:
    """The steps of a rollout to `robots` robots at this pace, in an environment whose policy has the steps `policy`.

    Each step of the policy is kept, with its gates, and those that were asked for come in between; with `force` they come alone. Raises
    `Blocked` for everybody at once where the policy is gradual.
    """
    asked = _growing(_asked(pace), robots)
    if force or not policy:
        return asked
    if not asked:
        raise Blocked("the environment's policy is gradual; --force asks everybody at once")
    left = list(asked)
    merged: list[RolloutStep] = []
    for step in policy:
        if step.select is None:
            size = _size(step, robots)
            while left and _size(left[0], robots) < size:
                merged.append(left.pop(0))
            if left and _size(left[0], robots) == size:
                step = _both(step, left.pop(0))
        merged.append(step)
    return (*merged, *left)


def _asked(pace: Pace) -> tuple[RolloutStep, ...]:
    if pace.strategy is Strategy.ALL:
        return ()
    by_hand = pace.strategy is Strategy.MANUAL
    steps: list[RolloutStep] = []
    begun = 0.0
    if pace.canary_percent is not None:
        begun = pace.canary_percent
        steps.append(RolloutStep(percent=begun, soak_s=pace.soak_s))
    elif pace.canary_robots is not None or pace.strategy is not Strategy.WAVES:
        steps.append(RolloutStep(robots=pace.canary_robots or 1, soak_s=pace.soak_s))
    wave = pace.wave_percent or (_WAVE if pace.strategy is Strategy.WAVES else None)
    if wave is not None:
        share = wave * (math.floor(begun / wave + 1e-9) + 1)
        while share < 100 - 1e-9:
            steps.append(RolloutStep(percent=share, soak_s=pace.soak_s, approval=by_hand and bool(steps)))
            share += wave
    return (*steps, RolloutStep(approval=by_hand))


def _growing(steps: Sequence[RolloutStep], robots: int) -> tuple[RolloutStep, ...]:
    """Without steps that would ask nobody new, of so few robots; the last one, for everybody, stays."""
    kept: list[RolloutStep] = []
    for step in steps:
        if not kept or step is steps[-1] or _size(step, robots) > _size(kept[-1], robots):
            kept.append(step)
    return tuple(kept)


def _size(step: RolloutStep, robots: int) -> int:
    if step.robots is not None:
        return min(step.robots, robots)
    if step.percent is not None:
        return min(robots, max(1, math.ceil(robots * step.percent / 100 - 1e-9)))
    return robots


def _both(one: RolloutStep, other: RolloutStep) -> RolloutStep:
    """The policy's step, with the stricter of their gates."""
    return msgspec.structs.replace(
        one,
        soak_s=max(one.soak_s, other.soak_s),
        success=max(one.success, other.success),
        approval=one.approval or other.approval,
    )
