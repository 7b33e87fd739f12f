"""Advances rollouts: read, plan, write, in one transaction a step. What to do is decided in `fleet.rollout`.

Level-triggered: a step may run twice or late. Hints (a robot reported, a rollout began) make it immediate; open rollouts are looked at
every two seconds anyway, and everything once at start.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet.rollout import CONFIRMED, Fleet, Plan, Standing, Target
from lekiwi_deploy.server.conclusion import conclude
from lekiwi_deploy.server.conducting_store import ConductingStore, Stage
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.looking import Memory, look
from lekiwi_deploy.server.overdue import escalate
from lekiwi_deploy.server.store import activations, conducting
from lekiwi_deploy.server.store.conducted import stage_of
from lekiwi_deploy.server.store.conducting import Change, Deferring, OpenRollout
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import Report
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.progress import Body, RobotMoved
from lekiwi_deploy.wire.reasons import HOLDING_OFF, Overdue

PERIOD_S = 2.0
_RAN = {RobotStatus.HEALTHY, RobotStatus.GOOD, RobotStatus.ROLLED_BACK, RobotStatus.FAILED}
_log = logging.getLogger("lekiwi.conductor")


async def run(context: Context) -> None:
    """Advances rollouts for ever."""
    since, stage, memory = context.now(), stage_of(context), Memory()
    with context.nudges.subscribe("rollout") as hints:
        again = await advance_due(stage, since, look="all", memory=memory)
        while True:
            heard = await hints.wait(PERIOD_S)
            far: conducting.Look = "hinted" if heard else "open"
            again = await advance_due(stage, since, heard | again, look=far, memory=memory)


async def advance_due(
    stage: Stage,
    listening_since: datetime,
    hints: Collection[str] = (),
    *,
    look: conducting.Look = "hinted",
    memory: Memory | None = None,
) -> set[str]:
    """Takes a step of each rollout that `hints` or `look` point at. Returns those that could not be advanced, to try again. `memory`: what is
    kept from step to step, only to be quick."""
    failed: set[str] = set()
    memory = Memory() if memory is None else memory
    async with stage.open() as store:
        ids = await store.due(hints, look, stage.now())
    for id in ids:
        try:
            await advance(stage, id, listening_since, memory)
        except LekiwiError as error:
            _log.warning("rollout %s: %s", id, error.message)
            failed.add(id)
        except Exception:
            _log.exception("rollout %s could not be advanced", id)
            failed.add(id)
    return failed


async def advance(stage: Stage, id: str, listening_since: datetime, memory: Memory | None = None) -> None:
    """One step of one rollout. `listening_since`: when this process began, before which it saw no robot."""
    memory = Memory() if memory is None else memory
    kept = memory.take(id)  # put back only when the step stands
    async with stage.open() as store:
        rollout = await store.claim(id)
        if rollout is None:
            return
        now = stage.now()
        kept = await look(store, rollout, kept, now)
        decided = kept.fleet.plan(_target(rollout, listening_since), now, rollout.course)
        await _write(store, rollout, kept.fleet, decided, now)
        await conclude(store, stage, rollout, decided, now)
    memory.keep(id, kept)


async def _write(store: ConductingStore, rollout: OpenRollout, fleet: Fleet, decided: Plan, now: datetime) -> None:
    defers = [
        Deferring(robot=id, since=decided.standings[id].deferring_since)
        for id in decided.changed
        if decided.standings[id].deferring_since != fleet.robot(id).deferring_since
    ]
    if defers:
        await store.defer(defers, lock=decided.assign)
    if decided.assign:
        by = rollout.by_whom if rollout.kind == "robot" else None
        forced_by = rollout.by_whom if rollout.force else None
        await store.assign(
            rollout.id,
            decided.assign,
            rollout.deployment,
            by_hand=by,
            forced_by=forced_by,
            anytime=rollout.kind != "deploy",
            step=decided.course.at,
            now=now,
        )
    told = f"{decided.waits.at} {decided.waits.what}" if decided.waits is not None else ""
    course = msgspec.structs.replace(decided.course, told=told, later=decided.later)
    if course != rollout.course:
        await store.set_course(rollout.id, course)
    await store.record(rollout.id, [_change(rollout, id, decided) for id in decided.changed], now)
    ran = [
        activations.Ran(
            robot=robot,
            status=decided.standings[robot].status,
            rollback_from=rollout.deployment if decided.standings[robot].status is RobotStatus.ROLLED_BACK else None,
            outcome=decided.standings[robot].outcome,
        )
        for robot in decided.moved
        if decided.standings[robot].status in _RAN
    ]
    await store.ran(rollout.deployment, ran, now)
    verdict = decided.verdict
    if (verdict.total, verdict.live, verdict.pending + verdict.under_way, verdict.failed) != (
        rollout.total,
        rollout.live,
        rollout.pending,
        rollout.failed,
    ):
        await store.set_counts(
            rollout.id,
            total=verdict.total,
            live=verdict.live,
            pending=verdict.pending + verdict.under_way,
            failed=verdict.failed,
        )
    if ran:
        await store.count_activation(rollout.id, good=decided.good, healthy=decided.ever, total=verdict.total)
    if rollout.status == RolloutStatus.ROLLING:
        moved: list[Body] = [
            told_of(robot, fleet.robot(robot).report, decided.standings[robot]) for robot in decided.moved
        ]
        waits: list[Body] = [decided.waits] if decided.waits is not None and told != rollout.course.told else []
        await store.tell(rollout.id, [*moved, *waits], now)
    await escalate(store, rollout, decided, now)


def _change(rollout: OpenRollout, robot: RobotId, decided: Plan) -> Change:
    one = decided.standings[robot]
    told = any(isinstance(reason, Overdue) for reason in one.waiting)
    holds_off = one.deferring_since is not None and any(isinstance(reason, HOLDING_OFF) for reason in one.waiting)
    return Change(
        robot=robot,
        status=one.status,
        outcome=one.outcome,
        waiting=() if one is decided.standings.later else one.waiting,  # that is kept with the rollout
        confirmed=one.status in CONFIRMED,
        look_at=one.deferring_since + _limit(rollout) if one.deferring_since and holds_off and not told else None,
    )


def _limit(rollout: OpenRollout) -> timedelta:
    return timedelta(seconds=(rollout.policy or Policy()).defer_limit_s)


def _target(rollout: OpenRollout, listening_since: datetime) -> Target:
    return Target(
        deployment=rollout.deployment,
        digest=rollout.digest,
        created_at=rollout.deployment_created_at,
        kind=rollout.kind,
        epoch=rollout.epoch,
        force=rollout.force,
        platforms=rollout.metadata.platforms,
        listening_since=listening_since,
        defer_limit=_limit(rollout),
        rollout=rollout.id,
        began=rollout.created_at,
        skip_offline=rollout.course.skip_offline,
        expires=None if rollout.course.expires_s is None else timedelta(seconds=rollout.course.expires_s),
        limited=rollout.course.limited,
    )


def told_of(robot: RobotId, report: Report | None, one: Standing) -> RobotMoved:
    """What followers of the rollout are told when a robot's status changed."""
    running = report.running if report is not None else None
    outcome = one.outcome if one.status in _RAN else None
    return RobotMoved(
        robot=robot,
        status=one.status,
        running=running.deployment if running is not None else None,
        switch_ms=outcome.switch_ms if outcome else None,
        gap_ms=outcome.gap_ms if outcome else None,
        ready_ms=outcome.ready_ms if outcome else None,
        wire_bytes=outcome.wire_bytes if outcome else 0,
        why=outcome.why if outcome else None,
        log=outcome.log if outcome else (),
        waiting=one.waiting,
    )
