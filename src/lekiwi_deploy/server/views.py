"""Rows as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.approval import awaited
from lekiwi_deploy.fleet.course import steps_of
from lekiwi_deploy.fleet.status import shown_status
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.preview_state import awaiting_robots
from lekiwi_deploy.server.store import aliases, approvals, projects, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.store.rollouts import RobotRow as InRollout
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.api import (
    Counts,
    Deployment,
    DeploymentDetail,
    DeploymentStatus,
    Robot,
    RobotInRollout,
    RobotStatus,
    Rollout,
    RolloutStatus,
)
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName
from lekiwi_deploy.wire.link import Pin
from lekiwi_deploy.wire.reasons import (
    HOLDING_OFF,
    Asked,
    AwaitsRobot,
    ClonedKey,
    LaterStep,
    NeverJoined,
    Offline,
    Overdue,
    Pinned,
    Reason,
    RolloutPaused,
    key,
)
from lekiwi_deploy.wire.rollouts import RolloutCourse


async def deployment_views(
    tx: Transaction,
    context: Context,
    rows: Sequence[DeploymentRow],
    *,
    environment: str | None = None,
    full: bool = False,
) -> list[Deployment]:
    """The deployments with their newest rollouts (of `environment`, if they have one there) and where they are live, in the order of `rows`.
    `full`: also what they wait for, and their labels."""
    newest = {one.id: one for one in await rollouts.read_many(tx, {row.rollout for row in rows if row.rollout})}
    there = await rollouts.newest_in(tx, environment, [row.id for row in rows]) if environment is not None else {}
    live: dict[str, dict[DeploymentId, list[EnvironmentName]]] = {}
    for project in {row.project for row in rows}:
        live[project] = {}
        for one in await projects.environments(tx, project):
            if one.live is not None:
                live[project].setdefault(one.live, []).append(one.name)
    views = [
        _deployment(
            context,
            row,
            there.get(row.id) or (newest.get(row.rollout) if row.rollout else None),
            tuple(live[row.project].get(row.id, ())),
            environment,
        )
        for row in rows
    ]
    return await _with_labels(tx, context, views) if full else views


async def _with_labels(tx: Transaction, context: Context, views: Sequence[Deployment]) -> list[Deployment]:
    """With what they wait for and what else they are called."""
    ids = [view.id for view in views]
    requests = await approvals.views(tx, await approvals.open_of(tx, ids))
    labels = await aliases.of_deployments(tx, ids)
    queued: dict[DeploymentId, AwaitsRobot] = {}
    for project in {view.project for view in views if view.status is DeploymentStatus.BUILT}:
        queued |= await awaiting_robots(tx, project, context.now())
    return [
        msgspec.structs.replace(
            view,
            waiting=(
                *(awaited(one) for one in requests if one.deployment == view.id),
                *((queued[view.id],) if view.id in queued else ()),
            ),
            aliases=tuple(labels.get(view.id, ())),
        )
        for view in views
    ]


async def deployment_detail(tx: Transaction, context: Context, row: DeploymentRow) -> DeploymentDetail:
    """One deployment with its newest rollout and that one's robots."""
    (view,) = await deployment_views(tx, context, [row], full=True)
    rollout = await rollouts.read(tx, row.rollout) if row.rollout else None
    return DeploymentDetail(
        deployment=view,
        rollout=None if rollout is None else rollout_view(rollout, await rollouts.robots(tx, rollout.id)),
        services=row.metadata.services,
        platforms=row.metadata.platforms,
        meta=row.metadata.meta,
    )


def _deployment(
    context: Context,
    row: DeploymentRow,
    rollout: RolloutRow | None,
    live_in: tuple[EnvironmentName, ...],
    asked: str | None,
) -> Deployment:
    """`asked`: the environment that is looked at; None: wherever it is live, else where it went last."""
    status = RolloutStatus(rollout.status) if rollout is not None else None
    stopped = rollout is not None and rollout.course.stopped is not None
    active = asked in live_in if asked is not None else bool(live_in)
    where = rollout.environment if rollout is not None else row.environment
    if asked is None and live_in and where not in live_in:
        where = live_in[0]
    return Deployment(
        id=row.id,
        project=row.project,
        environment=where,
        version=row.version,
        status=shown_status(DeploymentStatus(row.status), status, active=active, stopped=stopped),
        active=active,
        created_at=row.created_at,
        commit=row.commit_sha,
        branch=row.branch,
        author=row.author,
        message=row.message,
        by=row.created_by,
        digest=row.package_hash,
        stack=row.stack,
        bytes=row.bytes,
        files=row.files,
        error=row.error,
        rollout=row.rollout,
        robots=Counts() if rollout is None else _counts(rollout),
        build_s=row.build_s,
        test_s=row.test_s,
        tests=row.tests,
        url=f"{context.config.url}/{row.id}",
        live_in=live_in,
        source=row.source,
    )


def _counts(rollout: RolloutRow) -> Counts:
    return Counts(total=rollout.total, live=rollout.live, pending=rollout.pending, failed=rollout.failed)


def rollout_view(row: RolloutRow, robots: Sequence[InRollout] = ()) -> Rollout:
    """A rollout with its robots."""
    return Rollout(
        id=row.id,
        project=row.project,
        environment=row.environment,
        deployment=row.deployment,
        kind=row.kind,
        status=RolloutStatus(row.status),
        by=row.by_whom,
        reason=row.reason,
        created_at=row.created_at,
        finished_at=row.finished_at,
        previous=row.previous,
        counts=_counts(row),
        robots=tuple(
            RobotInRollout(
                robot=one.robot,
                status=RobotStatus(one.status),
                running=one.running,
                outcome=one.outcome,
                assigned_at=one.assigned_at,
                confirmed_at=one.confirmed_at,
                waiting=one.waiting,
            )
            for one in robots
        ),
        course=_course_view(row, robots),
    )


def _course_view(row: RolloutRow, robots: Sequence[InRollout]) -> RolloutCourse | None:
    """None: it asks everybody at once, and nothing special happened."""
    course = row.course
    if not course.steps and course.paused is None and course.stopped is None:
        return None
    waits, until = _waits(robots)
    if row.status != RolloutStatus.ROLLING:
        waits = until = None
    paused = course.paused
    return RolloutCourse(
        steps=steps_of(course.steps),
        at=course.at + 1,
        waits="paused" if paused is not None and waits is not None else waits,
        until=until,
        passed_at=course.passed_at,
        paused_by=paused.by if paused is not None else None,
        paused_at=paused.at if paused is not None else None,
        paused_why=paused.why if paused is not None else "",
        stopped=course.stopped,
    )


def _waits(robots: Sequence[InRollout]) -> tuple[str | None, datetime | None]:
    """What robots that the rollout did not come to yet are told."""
    for one in robots:
        for reason in one.waiting:
            if isinstance(reason, LaterStep):
                return reason.what, reason.until
            if isinstance(reason, RolloutPaused):
                return "paused", None
    return None, None


def robot_view(row: RobotRow) -> Robot:
    """A robot with everything that it waits for, in order."""
    report = row.report
    pin = report.pin if report is not None else None
    if pin is None and row.by_hand and row.desired is not None and row.pinned_at is not None:
        pin = Pin(deployment=row.desired, by=row.pinned_by or "", at=row.pinned_at)
    return Robot(
        name=row.name,
        project=row.project,
        environment=row.environment,
        labels=row.labels,
        joined_at=row.joined_at,
        online=row.online,
        last_seen_at=row.last_seen_at,
        agent=row.agent,
        hostname=row.hostname,
        platform=row.platform,
        desired=row.desired,
        generation=row.generation,
        observed_generation=row.observed_generation,
        phase=report.phase if report is not None else None,
        running=report.running if report is not None else None,
        outcome=(report.outcome if report is not None else None) or row.last_outcome,
        services=report.services if report is not None else (),
        pin=pin,
        waiting=_waiting(row, pin),
        retained=len(report.retained) if report is not None else 0,
        agent_state=report.agent if report is not None else None,
        out=row.out,
    )


def _waiting(row: RobotRow, pin: Pin | None) -> tuple[Reason, ...]:
    """Why the robot does not run what its environment wants, and why it would not take something else; empty when it does, or nothing is wanted."""
    reasons: list[Reason] = []
    if row.cloned_at is not None:
        reasons.append(ClonedKey(row.cloned_at))
    if row.joined_at is None:
        reasons.append(NeverJoined())
    elif not row.online and row.cloned_at is None:
        reasons.append(Offline(row.last_seen_at))
    if row.out is not None:
        reasons.append(row.out)
    if pin is not None and pin.deployment != row.live:
        reasons.append(Pinned(pin.deployment, pin.by, pin.at))
    running = row.report.running.deployment if row.report is not None and row.report.running is not None else None
    wanted = pin.deployment if pin is not None else row.live
    if wanted is None or running == wanted:
        return tuple(reasons)
    own = row.report.waiting if row.report is not None else ()
    recorded = row.waiting or ()
    told = {key(reason) for reason in own}
    late = [reason for reason in recorded if isinstance(reason, Overdue)]
    # What the robot itself says is newer than what was recorded of it.
    stale = (Overdue, *HOLDING_OFF, *((Asked,) if own else ()))
    ours = [reason for reason in recorded if not isinstance(reason, stale) and key(reason) not in told]
    for reason in (*ours, *own, *late):
        if all(key(other) != key(reason) for other in reasons):
            reasons.append(reason)
    return tuple(reasons)
