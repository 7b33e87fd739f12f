"""The plan of a rollout: who moves now, who does not and why, what has become of each robot, and the verdict.

Level-triggered: the same robots give the same plan, in any order and as often as it is asked. A robot counts as confirmed
only when it reports, under the generation that it was given or a newer one, that the wanted digest runs and is healthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lekiwi_deploy.fleet.course import Course, Fate, Member, Turn, turn
from lekiwi_deploy.fleet.verdict import Verdict, judge
from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Outcome, Phase, Report, Result, ServiceState
from lekiwi_deploy.wire.platforms import Platform, best_key
from lekiwi_deploy.wire.progress import RolloutWaits
from lekiwi_deploy.wire.reasons import (
    HOLDING_OFF,
    Asked,
    ClonedKey,
    DiskFailing,
    DiskFull,
    Drained,
    Fetching,
    Halted,
    LaterStep,
    NeverJoined,
    NotBuiltFor,
    Offline,
    Overdue,
    Pinned,
    Quarantined,
    Reason,
    Retrying,
    RolloutPaused,
    Settling,
    Silent,
    Starting,
    Unplaced,
    WindowClosed,
    sentence,
)

_AT_ONCE = Course()

GRACE = timedelta(seconds=20)
"""How long a robot that lost its link counts as on its way back: links flap, and servers restart."""

PATIENCE = timedelta(seconds=60)
"""How long a robot that cannot fetch a release is waited for, counted from when it was asked."""

SILENCE = timedelta(minutes=10)
"""A robot reports every five minutes at least. One that is linked and said nothing for so long is not waited for: it hangs."""

RECENT = timedelta(minutes=15)
"""A robot that reported so short a time before the server went away is taken to have been connected then."""

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
    `defer_limit`: how long a robot may hold a deployment off before people are told."""

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


@dataclass(frozen=True, slots=True)
class Seen:
    """One robot of the rollout. `status`, `outcome`, `waiting`: as recorded; `generation`: its newest desired state; `assigned`: the generation
    that this rollout gave it (None: not yet), at `assigned_at`; `pin`: by a person on the server; `deferring_since`: it holds off what is
    wanted of it since then, be it this deployment or one before it; `out`: why it takes no part in what becomes of its environment."""

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


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a robot stands now. `waiting`: why it is not there yet, in order; never empty for one that is neither settled nor assigned.
    `reachable`: an answer may come any moment, so the verdict waits for it; `to_blame`: it counts as failed; `deferring_since`: as in
    `Seen`, from now on."""

    status: RobotStatus
    waiting: tuple[Reason, ...] = ()
    outcome: Outcome | None = None
    reachable: bool = False
    to_blame: bool = False
    deferring_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`assign`: who is given the deployment now, in order; `standings`: of every robot; `changed`: those whose standing differs
    from what is recorded, `moved` those whose status does; `waiting`: the reasons of all that wait; `overdue`: who holds it off for longer
    than allowed, and nobody was told yet; `course`: where it stands now; `until`: when to look again, though nothing happens;
    `waits`: what people are told that it waits for."""

    verdict: Verdict
    assign: tuple[RobotId, ...]
    standings: Mapping[RobotId, Standing]
    changed: tuple[RobotId, ...]
    moved: tuple[RobotId, ...]
    waiting: Mapping[RobotId, tuple[Reason, ...]]
    overdue: tuple[RobotId, ...] = ()
    course: Course = _AT_ONCE
    until: datetime | None = None
    waits: RolloutWaits | None = None


def plan(target: Target, robots: Iterable[Seen], now: datetime, course: Course = _AT_ONCE) -> Plan:
    """What to do about `target` now: whoever is not held back moves when the `course` comes to it."""
    standings: dict[RobotId, Standing] = {}
    movable: list[Seen] = []
    by_id = {robot.id: robot for robot in sorted(robots, key=lambda robot: robot.id)}
    for robot in by_id.values():
        if robot.assigned is not None or robot.status in FINAL:
            standings[robot.id] = _assigned(target, robot, now)
        elif held := holding_back(target, robot):
            standings[robot.id] = held
        else:
            standings[robot.id] = _asked(target, robot, now)
            movable.append(robot)
    free = frozenset(robot.id for robot in movable)
    decided = turn(course, [_member(by_id[id], one, id in free) for id, one in standings.items()], target.rollout, now)
    failed = sum(one.status in (RobotStatus.ROLLED_BACK, RobotStatus.FAILED) for one in standings.values())
    later = Standing(RobotStatus.PENDING, (_not_yet(target, decided, failed, now),))
    standings.update((id, later) for id in free - set(decided.ask))
    left = bool(free - set(decided.ask))
    verdict = _verdict(standings, goes_on=left and decided.waits is not None, stopped=decided.stopped is not None)
    return Plan(
        verdict=verdict,
        assign=decided.ask,
        standings=standings,
        changed=tuple(id for id, one in standings.items() if _differs(by_id[id], one)),
        moved=tuple(id for id, one in standings.items() if by_id[id].status is not one.status),
        waiting={id: one.waiting for id, one in standings.items() if one.waiting},
        overdue=tuple(id for id, one in standings.items() if _is_overdue(one) and not _was_overdue(by_id[id])),
        course=decided.course,
        until=decided.until,
        waits=_waits(target, decided, failed, now) if left and decided.stopped is None else None,
    )


def _member(robot: Seen, one: Standing, free: bool) -> Member:
    """The robot as the course looks at it."""
    if free:
        fate = Fate.FREE
    elif one.status in CONFIRMED:
        fate = Fate.HEALTHY
    elif one.status in (RobotStatus.ROLLED_BACK, RobotStatus.FAILED):
        fate = Fate.FAILED
    elif one.reachable:
        fate = Fate.UNDER_WAY
    elif robot.assigned is None or one.status in (RobotStatus.HELD, RobotStatus.SUPERSEDED):
        fate = Fate.BARRED
    else:
        fate = Fate.AWAY
    running = robot.report.running if robot.report is not None else None
    return Member(
        robot.id, fate, online=robot.online, well=running is not None and running.healthy, labels=robot.labels
    )


def _not_yet(target: Target, decided: Turn, failed: int, now: datetime) -> Reason:
    """Why a robot that nothing holds back is not asked now."""
    course = decided.course
    if decided.stopped is not None:
        return Halted(failed, decided.stopped)
    if course.paused is not None:
        return RolloutPaused(rollout=target.rollout, by=course.paused.by, since=course.paused.at, why=course.paused.why)
    what = decided.waits.value if decided.waits is not None else "room"
    step = min(course.at + 1, course.length)
    return LaterStep(rollout=target.rollout, step=step, of=course.length, what=what, until=decided.until)


def _waits(target: Target, decided: Turn, failed: int, now: datetime) -> RolloutWaits | None:
    """What people are told that it waits for; None: for nothing but the answers of robots."""
    what = "paused" if decided.course.paused is not None else decided.waits.value if decided.waits is not None else ""
    if what not in ("soak", "approval", "nobody", "paused"):
        return None
    course = decided.course
    text = sentence(_not_yet(target, decided, failed, now)).rpartition(": ")[2] if what != "paused" else ""
    if what == "paused" and course.paused is not None:
        text = f"paused by {course.paused.by}" + (f" ({course.paused.why})" if course.paused.why else "")
    return RolloutWaits(at=course.at + 1, of=course.length, what=what, text=text, until=decided.until)


def _verdict(standings: Mapping[RobotId, Standing], *, goes_on: bool, stopped: bool) -> Verdict:
    """`stopped`: the answers of those under way change nothing any more."""
    return judge(
        goes_on=goes_on,
        confirmed=sum(one.status in CONFIRMED for one in standings.values()),
        rolled_back=sum(one.status is RobotStatus.ROLLED_BACK for one in standings.values()),
        failed=sum(one.status is RobotStatus.FAILED for one in standings.values()),
        barred=sum(one.status is RobotStatus.HELD and one.to_blame for one in standings.values()),
        under_way=0 if stopped else sum(one.reachable for one in standings.values()),
        superseded=sum(one.status is RobotStatus.SUPERSEDED for one in standings.values()),
        total=len(standings),
    )


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


def _asked(target: Target, robot: Seen, now: datetime) -> Standing:
    if robot.online or _may_return(target, robot, now):
        return Standing(RobotStatus.ASSIGNED, (Asked(now),), reachable=True, deferring_since=robot.deferring_since)
    return Standing(RobotStatus.PENDING, (Offline(robot.last_seen_at),), deferring_since=robot.deferring_since)


def _assigned(target: Target, robot: Seen, now: datetime) -> Standing:
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
        return Standing(RobotStatus.PENDING, away, robot.outcome, deferring_since=robot.deferring_since)
    if observed is not None and any(isinstance(reason, HOLDING_OFF) for reason in observed.waiting):
        return _held_off(target, robot, observed.waiting, now)
    under_way = _under_way(robot, observed, now)
    if observed is not None and observed.phase in _PAST_HOLDS:
        return under_way
    return replace(under_way, deferring_since=robot.deferring_since)


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
    if report.running is not None and report.running.digest == target.digest:
        return None
    return Pinned(report.pin.deployment, report.pin.by, report.pin.at)


def _observed(target: Target, robot: Seen) -> Report | None:
    """The robot's report, if it was made knowing what this rollout wants."""
    report = robot.report
    if report is None or robot.assigned is None or report.epoch != target.epoch:
        return None
    return report if report.generation >= robot.assigned else None


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
    runs_it = running is not None and running.digest == target.digest
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


def _is_overdue(one: Standing) -> bool:
    return any(isinstance(reason, Overdue) for reason in one.waiting)


def _was_overdue(robot: Seen) -> bool:
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


def _differs(robot: Seen, now: Standing) -> bool:
    recorded = (robot.status, robot.outcome, robot.waiting, robot.deferring_since)
    return recorded != (now.status, now.outcome, now.waiting, now.deferring_since)
