"""Where one robot stands towards what a rollout wants of it, why it is not there yet, and when that may change by itself.

A robot counts as confirmed only when it reports, under the generation that it was given or a newer one, that the wanted digest runs and is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Report, Result, Running, ServiceState
from lekiwi_deploy.wire.platforms import Platform, best_key
from lekiwi_deploy.wire.reasons import (
    HOLDING_OFF,
    Asked,
    ClonedKey,
    DiskFailing,
    DiskFull,
    Drained,
    Expired,
    Fetching,
    NeverJoined,
    NotBuiltFor,
    Offline,
    Overdue,
    Pinned,
    Quarantined,
    Reason,
    Retrying,
    Settling,
    Silent,
    Skipped,
    Starting,
    Unplaced,
    WindowClosed,
)

GRACE = timedelta(seconds=20)
"""How long a robot that lost its link counts as on its way back: links flap, and servers restart."""

PATIENCE = timedelta(seconds=60)
"""How long a robot that cannot fetch a release is waited for, counted from when it was asked."""

SILENCE = timedelta(minutes=10)
"""A robot reports every five minutes at least. One that is linked and said nothing for so long is not waited for: it hangs."""

RECENT = timedelta(minutes=15)
"""A robot that reported so short a time before the server went away is taken to have been connected then."""

LEASE = timedelta(minutes=10)
"""How long a robot that was asked, and lost its link, keeps the room that it has where only so many may be under way: it may be switching."""

CONFIRMED = frozenset({RobotStatus.HEALTHY, RobotStatus.GOOD})
FINAL = frozenset({RobotStatus.GOOD, RobotStatus.ROLLED_BACK, RobotStatus.FAILED, RobotStatus.SUPERSEDED})
"""What nothing but a new assignment changes."""

_UNDER_WAY: Mapping[Phase, RobotStatus] = {
    Phase.FETCHING: RobotStatus.FETCHING,
    Phase.STAGED: RobotStatus.SWITCHING,
    Phase.SWITCHING: RobotStatus.SWITCHING,
    Phase.STARTING: RobotStatus.SWITCHING,
    Phase.TRIAL: RobotStatus.SWITCHING,
}
_PAST_HOLDS = (Phase.SWITCHING, Phase.STARTING, Phase.TRIAL)


@dataclass(frozen=True, slots=True)
class Target:
    """What a rollout is about. `kind`: deploy, rollback or robot; `platforms`: keys that the manifest has content for (empty:
    runs anywhere); `created_at`: of the deployment; `epoch`: the server's; `listening_since`: when this server began to take
    links, before which no robot could be seen; `rollout`: its id;
    `defer_limit`: how long a robot may hold a deployment off before people are told; `began`: when the rollout did; `skip_offline`: robots that were
    off then are left out of it; `expires`: how long a robot that does not take it is waited for (None: for ever); `limited`: only so many may be
    under way at once, so that a robot that is off is asked when it returns, and not before."""

    deployment: DeploymentId
    digest: ManifestDigest
    created_at: datetime
    kind: str
    epoch: int
    force: bool = False
    platforms: tuple[str, ...] = ()
    listening_since: datetime | None = None
    defer_limit: timedelta = timedelta(hours=4)
    rollout: str = ""
    began: datetime | None = None
    skip_offline: bool = False
    expires: timedelta | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One robot of the rollout. `status`, `outcome`, `waiting`: as recorded; `generation`: its newest desired state; `assigned`: the generation
    that this rollout gave it (None: not yet), at `assigned_at`; `pin`: by a person on the server; `deferring_since`: it holds off what is
    wanted of it since then, be it this deployment or one before it; `out`: why it takes no part in what becomes of its environment;
    `confirmed`: it was healthy in this rollout once."""

    id: RobotId
    status: RobotStatus = RobotStatus.PENDING
    joined: bool = True
    online: bool = True
    last_seen_at: datetime | None = None
    platform: Platform | None = None
    cloned_at: datetime | None = None
    pin: Pinned | None = None
    generation: int = 0
    assigned: int | None = None
    assigned_at: datetime | None = None
    report: Report | None = None
    outcome: Outcome | None = None
    waiting: tuple[Reason, ...] = ()
    deferring_since: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    out: Drained | Unplaced | None = None
    confirmed: bool = False


class Standing(msgspec.Struct, frozen=True):
    """Where a robot stands now. `waiting`: why it is not there yet, in order; never empty for one that is neither settled nor assigned.
    `reachable`: an answer may come any moment, so the verdict waits for it; `to_blame`: it counts as failed; `deferring_since`: as in
    `Seen`, from now on; `expired`: nobody waits for it any more; `leased`: it keeps its room, as it may be switching out of sight."""

    status: RobotStatus
    waiting: tuple[Reason, ...] = ()
    outcome: Outcome | None = None
    reachable: bool = False
    to_blame: bool = False
    deferring_since: datetime | None = None
    expired: bool = False
    leased: bool = False


def standing_of(target: Target, robot: Seen, now: datetime) -> Standing | None:
    """Where the robot stands; None: it was not asked yet, and nothing about itself keeps it from being asked."""
    if robot.assigned is None and robot.status not in FINAL:
        held = holding_back(target, robot)
        if held is not None or robot.online:
            return held
        if _skipped(target, robot, now):
            return Standing(RobotStatus.PENDING, (Offline(robot.last_seen_at), Skipped(rollout=target.rollout)))
        one = Standing(RobotStatus.PENDING, (Offline(robot.last_seen_at),), deferring_since=robot.deferring_since)
        given_up = _given_up(target, robot, one, now)
        return given_up if given_up.expired or target.limited else None
    one = _assigned_standing(target, robot, now)
    if one.status is not RobotStatus.PENDING or one.reachable or robot.cloned_at is not None:
        return one
    return _given_up(target, robot, one, now)


def _skipped(target: Target, robot: Seen, now: datetime) -> bool:
    """Whether it was off when the rollout began, and that leaves out who was."""
    if not target.skip_offline or target.began is None or _may_return(target, robot, now):
        return False
    return robot.last_seen_at is None or robot.last_seen_at <= target.began


def _waited_since(target: Target, robot: Seen) -> datetime | None:
    """Since when the rollout waits for a robot that does not take what is wanted."""
    if target.began is None:
        return None
    away = robot.last_seen_at if not robot.online else None
    return max(at for at in (target.began, robot.assigned_at, away) if at is not None)


def _given_up(target: Target, robot: Seen, one: Standing, now: datetime) -> Standing:
    """`one`, and that nobody waits for it any more when it is so."""
    since = _waited_since(target, robot)
    if since is None or target.expires is None or now < since + target.expires:
        return one
    expired = Expired(since=since, limit_s=target.expires.total_seconds())
    return msgspec.structs.replace(one, waiting=(*one.waiting, expired), expired=True)


def looks_again(target: Target, robot: Seen, now: datetime) -> datetime | None:
    """When the robot may stand elsewhere although nothing happens to it: not before that. None: only once it is written again."""
    if robot.status in FINAL or robot.cloned_at is not None or (robot.online and robot.assigned is None):
        return None
    just_after = timedelta(microseconds=1)
    times: list[datetime] = []
    if not robot.online and robot.last_seen_at is not None:
        times.append(robot.last_seen_at + GRACE)
        if target.listening_since is not None:
            times.append(target.listening_since + GRACE)
    if target.limited and robot.assigned is not None and not robot.online:
        times.append(_lease_ends(robot, now))
    if robot.assigned is not None and robot.online:
        heard = max(at for at in (robot.assigned_at or now, robot.last_seen_at) if at is not None)
        times.append(heard + SILENCE + just_after)
        if robot.assigned_at is not None:
            times.append(robot.assigned_at + PATIENCE + just_after)
        times.append((robot.deferring_since or now) + target.defer_limit)
    since = _waited_since(target, robot)
    if since is not None and target.expires is not None and (robot.assigned is not None or not robot.online):
        times.append(since + target.expires)
    later = [at for at in times if at > now]
    return min(later) if later else None


def holding_back(target: Target, robot: Seen) -> Standing | None:
    """Why `robot` may not be given the deployment, or None when it may."""
    if robot.cloned_at is not None:
        return Standing(RobotStatus.PENDING, (ClonedKey(robot.cloned_at),))
    if not robot.joined:
        return Standing(RobotStatus.PENDING, (NeverJoined(),))
    if robot.out is not None and target.kind != "robot":
        return Standing(RobotStatus.HELD, (robot.out,))
    if robot.pin is not None and target.kind != "robot":
        released = target.kind == "deploy" and target.created_at > robot.pin.since
        if not released:
            return Standing(RobotStatus.HELD, (robot.pin,))
    if robot.report is not None and target.deployment in robot.report.quarantined and not target.force:
        why = Quarantined(target.deployment, "it failed its checks on this robot")
        return Standing(RobotStatus.HELD, (why,), to_blame=True)
    if target.platforms and robot.platform is not None and best_key(target.platforms, robot.platform) is None:
        return Standing(RobotStatus.HELD, (NotBuiltFor(robot.platform.key),), to_blame=True)
    return None


def asked_standing(target: Target, robot: Seen, now: datetime) -> Standing:
    """Where a robot stands that is asked now."""
    if robot.online or _may_return(target, robot, now):
        return Standing(RobotStatus.ASSIGNED, (Asked(now),), reachable=True, deferring_since=robot.deferring_since)
    return Standing(RobotStatus.PENDING, (Offline(robot.last_seen_at),), deferring_since=robot.deferring_since)


def _assigned_standing(target: Target, robot: Seen, now: datetime) -> Standing:
    if robot.status in FINAL:
        if robot.status is RobotStatus.GOOD and (pin := _taken_back(target, robot)):
            return Standing(RobotStatus.HELD, (pin,), robot.outcome)
        blame = robot.status in (RobotStatus.ROLLED_BACK, RobotStatus.FAILED)
        return Standing(robot.status, (), robot.outcome, to_blame=blame)
    if robot.cloned_at is not None:
        return Standing(RobotStatus.PENDING, (ClonedKey(robot.cloned_at),), robot.outcome)
    if pin := _taken_back(target, robot):
        return Standing(RobotStatus.HELD, (pin,), robot.outcome)
    if _moved_on(robot):
        return Standing(RobotStatus.SUPERSEDED, (), robot.outcome)
    observed = _observed(target, robot)
    if observed is not None:
        settled = _settled(target, robot, observed)
        if settled is not None:
            return settled
    if robot.status is RobotStatus.HEALTHY:
        return Standing(RobotStatus.HEALTHY, (), robot.outcome)
    if not robot.online:
        away = (Offline(robot.last_seen_at),)
        if _may_return(target, robot, now):
            return Standing(robot.status, away, robot.outcome, reachable=True, deferring_since=robot.deferring_since)
        return Standing(
            RobotStatus.PENDING,
            away,
            robot.outcome,
            deferring_since=robot.deferring_since,
            leased=target.limited and now < _lease_ends(robot, now),
        )
    if observed is not None and any(isinstance(reason, HOLDING_OFF) for reason in observed.waiting):
        return _held_off(target, robot, observed.waiting, now)
    under_way = _under_way(robot, observed, now)
    if observed is not None and observed.phase in _PAST_HOLDS:
        return under_way
    return msgspec.structs.replace(under_way, deferring_since=robot.deferring_since)


def _lease_ends(robot: Seen, now: datetime) -> datetime:
    return max(at for at in (robot.assigned_at or now - LEASE, robot.last_seen_at) if at is not None) + LEASE


def _moved_on(robot: Seen) -> bool:
    """Whether something newer than this rollout gave the robot another desired state."""
    return robot.assigned is not None and robot.generation > robot.assigned


def _taken_back(target: Target, robot: Seen) -> Pinned | None:
    """The pin by which a person took the robot to something else after this rollout had reached it."""
    if _moved_on(robot):
        return robot.pin
    report = _observed(target, robot)
    if report is None or report.pin is None or report.pin.deployment == target.deployment:
        return None
    if _runs_it(target, report.running):
        return None
    return Pinned(report.pin.deployment, report.pin.by, report.pin.at)


def _observed(target: Target, robot: Seen) -> Report | None:
    """The robot's report, if it was made knowing what this rollout wants."""
    report = robot.report
    if report is None or robot.assigned is None or report.epoch != target.epoch:
        return None
    return report if report.generation >= robot.assigned else None


def _runs_it(target: Target, running: Running | None) -> bool:
    """Whether that is the deployment, and has its content. The content alone does not tell: one that was deployed again, with other variables,
    has the same."""
    return running is not None and (running.deployment, running.digest) == (target.deployment, target.digest)


def _settled(target: Target, robot: Seen, report: Report) -> Standing | None:
    assert robot.assigned is not None
    outcome = report.outcome
    if outcome is None or outcome.deployment != target.deployment or outcome.generation < robot.assigned:
        outcome = None
    if outcome is not None and outcome.result is Result.ROLLED_BACK:
        return Standing(RobotStatus.ROLLED_BACK, (), outcome, to_blame=True)
    if outcome is not None and outcome.result is Result.FAILED:
        return Standing(RobotStatus.FAILED, (), outcome, to_blame=True)
    running = report.running
    runs_it = _runs_it(target, running)
    if running is not None and runs_it and running.healthy:
        status = RobotStatus.GOOD if running.good else RobotStatus.HEALTHY
        return Standing(status, (), outcome or robot.outcome)
    if target.deployment in report.quarantined and not runs_it and report.phase is Phase.IDLE:
        why = outcome.why if outcome is not None and outcome.why else "it failed its checks on this robot"
        return Standing(RobotStatus.HELD, (Quarantined(target.deployment, why),), robot.outcome, to_blame=True)
    return None


def _under_way(robot: Seen, observed: Report | None, now: datetime) -> Standing:
    """An answer is expected: say what it is doing, in its own words where it gave any."""
    heard = max(at for at in (robot.assigned_at or now, robot.last_seen_at) if at is not None)
    if now - heard > SILENCE:
        return Standing(RobotStatus.PENDING, (Silent(heard),), robot.outcome)
    if observed is None:
        return Standing(RobotStatus.ASSIGNED, (Asked(robot.assigned_at or now),), robot.outcome, reachable=True)
    status = _UNDER_WAY.get(observed.phase, RobotStatus.ASSIGNED)
    not_ready = tuple(one.name for one in observed.services if one.state is not ServiceState.READY)
    waiting: tuple[Reason, ...] = observed.waiting
    if _stuck(robot, waiting, now):
        return Standing(RobotStatus.PENDING, waiting, robot.outcome)
    if not waiting and status is RobotStatus.FETCHING:
        waiting = (Fetching(0, None),)
    elif not waiting and not_ready:
        waiting = (Starting(not_ready),)
    return Standing(status, waiting or (Asked(robot.assigned_at or now),), robot.outcome, reachable=True)


def _held_off(target: Target, robot: Seen, waiting: tuple[Reason, ...], now: datetime) -> Standing:
    """Somebody on the robot says "not now", or a condition of the release is not met: like one that is offline it holds nothing up, and
    goes on by itself. After `defer_limit` people are told."""
    if not any(isinstance(one, HOLDING_OFF) and not isinstance(one, WindowClosed) for one in waiting):
        return Standing(RobotStatus.PENDING, waiting, robot.outcome)  # its environment wants it to wait
    since = robot.deferring_since or now
    if now - since >= target.defer_limit:
        waiting = (*waiting, Overdue(since, target.defer_limit.total_seconds()))
    return Standing(RobotStatus.PENDING, waiting, robot.outcome, deferring_since=since)


def is_overdue(one: Standing) -> bool:
    """Whether it holds a deployment off for longer than allowed."""
    return any(isinstance(reason, Overdue) for reason in one.waiting)


def was_overdue(robot: Seen) -> bool:
    """Whether people were told of that."""
    return any(isinstance(reason, Overdue) for reason in robot.waiting)


def _stuck(robot: Seen, waiting: tuple[Reason, ...], now: datetime) -> bool:
    """Whether it goes on by itself only once somebody helped: nobody should watch for that. A fault that passes gets `PATIENCE`."""
    if any(isinstance(reason, DiskFull | DiskFailing | Settling) for reason in waiting):
        return True
    retrying = any(isinstance(reason, Retrying) for reason in waiting)
    return retrying and robot.assigned_at is not None and now - robot.assigned_at > PATIENCE


def _may_return(target: Target, robot: Seen, now: datetime) -> bool:
    """Whether an offline robot was here a moment ago, or just before the server itself was away."""
    seen = robot.last_seen_at
    if seen is None:
        return False
    since = target.listening_since
    if since is not None and since - RECENT < seen < since:
        seen = since
    return now - seen < GRACE
