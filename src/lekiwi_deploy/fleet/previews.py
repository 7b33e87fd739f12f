"""Which preview gets which robot, which lease ends, and what a robot is given when it comes home.

First come, first served, in each pool for itself. The time of a preview begins with its first robot, a push starts it anew, and all its leases
end with it. Robots that are lent stay lent: nobody takes one from another preview.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from lekiwi_deploy.fleet.branches import LENDERS
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId
from lekiwi_deploy.wire.policy import Policy, Preview, Undo

DEVELOPMENT = Policy(undo=Undo.NOTHING)
"""How previews are judged whose pool nobody configured: a failed version is left running, to be looked at, until the lease is over."""


class Ended(StrEnum):
    """Why a lease was over."""

    TIME = "its time is over"
    REMOVED = "the preview was removed"
    BRANCH = "the branch was deleted"
    MOVED = "the robot was moved by hand"


@dataclass(frozen=True, slots=True)
class Lendable:
    """A robot of a pool. `unfit`: why it cannot be lent now, in a word (`offline`, `drained`, …); empty: it is free. `healthy` None: it runs nothing;
    `idle`: it is not on its way to another deployment."""

    robot: RobotId
    pool: EnvironmentName
    unfit: str = ""
    healthy: bool | None = None
    idle: bool = True


@dataclass(frozen=True, slots=True)
class Lent:
    """One lease that runs. `place`: the environment that the robot is in."""

    id: int
    robot: RobotId
    environment: EnvironmentName
    place: EnvironmentName


@dataclass(frozen=True, slots=True)
class Wish:
    """A preview. `since`: its place in the queue, None: it does not queue; `until`: when its time is over, None: it has none yet, or it is over."""

    environment: EnvironmentName
    pool: EnvironmentName
    wants: int
    lease: timedelta
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A robot goes to a preview."""

    environment: EnvironmentName
    robot: RobotId
    home: EnvironmentName
    until: datetime


@dataclass(frozen=True, slots=True)
class End:
    """A lease is over."""

    lease: Lent
    why: Ended


@dataclass(frozen=True, slots=True)
class Place:
    """What a preview waits for that still queues: `ahead` others before it; `free_at`: when the next robot of its pool comes free by itself;
    `why`: what else keeps robots from it."""

    since: datetime
    ahead: int
    free_at: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be done; `wishes`: previews as they are from now on; `queue`: those that still wait; `due`: when to look again, though nothing
    happens."""

    ends: tuple[End, ...]
    grants: tuple[Grant, ...]
    wishes: dict[EnvironmentName, Wish]
    queue: dict[EnvironmentName, Place]
    due: datetime | None


def terms(pool: Policy | None) -> Preview:
    """What a pool lends: how many robots to each preview, and for how long."""
    return (pool.preview if pool is not None else None) or Preview()


def lends(name: str, policy: Policy | None) -> bool:
    """Whether an environment's robots go to previews: its policy says so, or its name begins with `preview`."""
    return (policy is not None and policy.preview is not None) or name.startswith(LENDERS)


def preview_policy(pool: Policy | None) -> Policy:
    """How a preview is judged: as its pool is, but for what is about many robots."""
    if pool is None:
        return DEVELOPMENT
    return msgspec.structs.replace(
        pool, groups=(), select=None, preview=None, steps=(), in_flight=None, max_failures=None, min_success=None
    )


def settle(
    robots: Iterable[Lendable],
    leases: Iterable[Lent],
    wishes: Iterable[Wish],
    frozen: frozenset[EnvironmentName],
    now: datetime,
) -> Settled:
    """Who gets what, and what is over. `frozen`: environments, of which nothing is lent, and to which nothing is given."""
    lendable = tuple(robots)
    known = {wish.environment: wish for wish in sorted(wishes, key=lambda wish: wish.environment)}
    ends, stays = _over(sorted(leases, key=lambda lease: lease.id), known, now)
    held: dict[EnvironmentName, int] = defaultdict(int)
    for lease in stays:
        held[lease.environment] += 1
    known = {name: _asks(wish, held[name], now) for name, wish in known.items()}
    grants = _granted(lendable, {lease.robot for lease in stays}, known, held, frozen, now)
    for grant in grants:
        held[grant.environment] += 1
        known[grant.environment] = _served(known[grant.environment], grant.until, held[grant.environment])
    untils = [wish.until for wish in known.values() if wish.until is not None and held[wish.environment]]
    queue = _queue(lendable, known, held, frozen)
    return Settled(tuple(ends), tuple(grants), known, queue, min(untils, default=None))


def _over(leases: Iterable[Lent], wishes: dict[EnvironmentName, Wish], now: datetime) -> tuple[list[End], list[Lent]]:
    ends: list[End] = []
    stays: list[Lent] = []
    for lease in leases:
        wish = wishes.get(lease.environment)
        if lease.place != lease.environment:
            ends.append(End(lease, Ended.MOVED))
        elif wish is None:
            ends.append(End(lease, Ended.REMOVED))
        elif wish.until is None or wish.until <= now:
            ends.append(End(lease, Ended.TIME))
        else:
            stays.append(lease)
    return ends, stays


def _asks(wish: Wish, held: int, now: datetime) -> Wish:
    """The preview with its time and its place in the queue as they are now: one that lost a robot before its time was over wants another."""
    if wish.until is not None and wish.until <= now:
        return replace(wish, since=None, until=None)
    if held >= wish.wants:
        return replace(wish, since=None)
    return replace(wish, since=now) if wish.since is None and wish.until is not None else wish


def _granted(
    robots: Iterable[Lendable],
    lent: set[RobotId],
    wishes: dict[EnvironmentName, Wish],
    held: dict[EnvironmentName, int],
    frozen: frozenset[EnvironmentName],
    now: datetime,
) -> list[Grant]:
    free: dict[EnvironmentName, list[Lendable]] = defaultdict(list)
    for robot in sorted(robots, key=_preferred):
        if not robot.unfit and robot.robot not in lent and robot.pool not in frozen:
            free[robot.pool].append(robot)
    grants: list[Grant] = []
    for wish in _in_order(wishes.values()):
        if wish.environment in frozen or wish.since is None:
            continue
        missing = wish.wants - held[wish.environment]
        until = wish.until or now + wish.lease
        grants += [Grant(wish.environment, robot.robot, robot.pool, until) for robot in free[wish.pool][:missing]]
        free[wish.pool] = free[wish.pool][missing:]
    return grants


def _served(wish: Wish, until: datetime, held: int) -> Wish:
    return replace(wish, since=None if held >= wish.wants else wish.since, until=until)


def _preferred(robot: Lendable) -> tuple[bool, bool, bool, str]:
    return (robot.healthy is False, not robot.idle, robot.healthy is None, robot.robot)


def _in_order(wishes: Iterable[Wish]) -> list[Wish]:
    queued = [(wish.since, wish.environment, wish) for wish in wishes if wish.since is not None]
    return [wish for _, _, wish in sorted(queued, key=lambda one: one[:2])]


def _queue(
    robots: Sequence[Lendable],
    wishes: dict[EnvironmentName, Wish],
    held: dict[EnvironmentName, int],
    frozen: frozenset[EnvironmentName],
) -> dict[EnvironmentName, Place]:
    found: dict[EnvironmentName, Place] = {}
    ahead: dict[EnvironmentName, int] = defaultdict(int)
    for wish in _in_order(wishes.values()):
        assert wish.since is not None
        ends = [
            one.until
            for one in wishes.values()
            if one.pool == wish.pool and one.until is not None and held[one.environment] and one is not wish
        ]
        why = _why(wish, [robot for robot in robots if robot.pool == wish.pool], bool(ends), frozen)
        found[wish.environment] = Place(wish.since, ahead[wish.pool], min(ends, default=None), why)
        ahead[wish.pool] += wish.environment not in frozen
    return found


def _why(wish: Wish, robots: Sequence[Lendable], others: bool, frozen: frozenset[EnvironmentName]) -> str:
    """What keeps robots from it beside other previews."""
    for name in (wish.pool, wish.environment):
        if name in frozen:
            return f"{name} is frozen"
    if not robots:
        return "" if others else f"{wish.pool} has no robots"
    unfit: dict[str, list[str]] = defaultdict(list)
    for robot in robots:
        if robot.unfit:
            unfit[robot.unfit].append(robot.robot)
    return ", ".join(
        f"{_named(names)} {'is' if len(names) == 1 else 'are'} {why}" for why, names in sorted(unfit.items())
    )


def _named(names: Sequence[str]) -> str:
    shown = sorted(names)[:3]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class WayHome:
    """What a robot that comes back is given at once; None: nothing, it keeps what it runs until the environment asks it. `follows`: as its part
    of the environment's rollout; else it is a late joiner of that one, as any other that comes."""

    deployment: DeploymentId | None
    follows: bool


def way_home(
    *,
    live: DeploymentId | None,
    rolling: bool,
    before: DeploymentId | None,
    bad: frozenset[DeploymentId],
) -> WayHome:
    """What is live at home, if its rollout is over or the robot had it before; while it is still gradually coming, what it ran before. `bad`: what
    failed there or on the robot, and is never given again."""
    if live is not None and live not in bad and (not rolling or live == before):
        return WayHome(live, follows=True)
    if before is not None and before not in bad:
        return WayHome(before, follows=False)
    return WayHome(None, follows=False)
