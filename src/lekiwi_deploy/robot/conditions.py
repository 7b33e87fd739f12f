"""What must hold on a robot before it switches to a release, against what was read there: typed reasons, in the order of `Conditions`.

What could not be read holds: a robot without a battery is not kept from updating by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.wire.manifest import Conditions
from lekiwi_deploy.wire.reasons import (
    Busy,
    ClockWrong,
    LowBattery,
    LowDisk,
    LowMemory,
    Overloaded,
    PowerTrouble,
    Reason,
    TooHot,
    key,
)

SKEW = timedelta(minutes=10)
"""How far the robot's clock may be behind that of the server that made the release."""
FUTURE = timedelta(days=3653)
"""How far it may be ahead of the newest time that is known for sure. A robot may lie in a store for years, with a clock that is right."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read; None: it cannot be read here. `disk_free`, `memory_free`: bytes; `battery`: percent of all batteries together;
    `temperature`: of the hottest part, degrees Celsius; `load`: of one minute, per processor; `power`: what is wrong with the power
    supply now; `clock`: the wall clock."""

    disk_free: int | None = None
    memory_free: int | None = None
    battery: float | None = None
    charging: bool = False
    temperature: float | None = None
    load: float | None = None
    power: tuple[str, ...] = ()
    clock: datetime | None = None


def unmet(asked: Conditions, seen: Readings, *, made: datetime, agent_made: datetime) -> tuple[Reason, ...]:
    """Why not to switch now to a release that was made at `made` (by the server's clock); `agent_made`: when this agent was."""
    reasons: list[Reason] = []
    if asked.disk_free is not None and seen.disk_free is not None and seen.disk_free < asked.disk_free:
        reasons.append(LowDisk(asked.disk_free, seen.disk_free))
    if asked.memory_free is not None and seen.memory_free is not None and seen.memory_free < asked.memory_free:
        reasons.append(LowMemory(asked.memory_free, seen.memory_free))
    if asked.battery is not None and seen.battery is not None and seen.battery < asked.battery:
        reasons.append(LowBattery(asked.battery, seen.battery, charging=seen.charging))
    if asked.temperature is not None and seen.temperature is not None and seen.temperature > asked.temperature:
        reasons.append(TooHot(asked.temperature, seen.temperature))
    if asked.load is not None and seen.load is not None and seen.load > asked.load:
        reasons.append(Overloaded(asked.load, seen.load))
    if asked.power_good and seen.power:
        reasons.append(PowerTrouble(", ".join(seen.power)))
    if asked.clock and seen.clock is not None:
        wrong = _wrong(seen.clock, made, agent_made)
        if wrong is not None:
            reasons.append(ClockWrong(seen.clock, wrong))
    return tuple(reasons)


def _wrong(clock: datetime, made: datetime, agent_made: datetime) -> str | None:
    if clock < made - SKEW:
        return f"this release was made after that, at {made:%Y-%m-%d %H:%M}"
    if clock < agent_made - SKEW:
        return f"this agent was made after that, on {agent_made:%Y-%m-%d}"
    if clock > max(made, agent_made) + FUTURE:
        return f"that is more than ten years after this release was made, on {made:%Y-%m-%d}"
    return None


def steady(before: Iterable[Reason], now: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """`now`, with reasons as they were told `before` where only a figure moved a little: a robot that waits does not report every byte."""
    told = {key(reason): reason for reason in before}
    return tuple(told[key(new)] if _near(told.get(key(new)), new) else new for new in now)


def _near(old: Reason | None, new: Reason) -> bool:
    match old, new:
        case Busy(), Busy():
            same = (old.owner, old.why, old.since, old.until is None) == (
                new.owner,
                new.why,
                new.since,
                new.until is None,
            )
            return same and (
                old.until is None or new.until is None or abs(new.until - old.until) < timedelta(seconds=5)
            )
        case (LowDisk(needed, then), LowDisk(asked, free)) | (LowMemory(needed, then), LowMemory(asked, free)):
            return needed == asked and abs(free - then) <= needed * 0.05
        case (LowBattery(needed, then, charged), LowBattery(asked, now, charging)):
            return needed == asked and charged == charging and abs(now - then) < 1
        case (TooHot(limit, then), TooHot(asked, now)):
            return limit == asked and abs(now - then) < 2
        case (Overloaded(limit, then), Overloaded(asked, now)):
            return limit == asked and abs(now - then) <= 0.05 * max(limit, 1)
        case (ClockWrong(then, was), ClockWrong(now, why)):
            return was == why and abs(now - then) < timedelta(minutes=10)
    return False
