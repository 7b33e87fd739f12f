"""What follows when a rollout has come to something: the verdict is told, and what failed everywhere stops being live."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.fleet.resolution import previous_of
from lekiwi_deploy.fleet.rollout import CONFIRMED, Plan
from lekiwi_deploy.fleet.verdict import Verdict
from lekiwi_deploy.server.conducting_store import ConductingStore, Surroundings
from lekiwi_deploy.server.overdue import SERVER
from lekiwi_deploy.server.rollouts import Place, begin, take_away, undo_text
from lekiwi_deploy.server.store.conducting import OpenRollout
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.policy import Undo
from lekiwi_deploy.wire.progress import RolloutFinished
from lekiwi_deploy.wire.reasons import HOLDING_OFF, Offline

_LATER = (*HOLDING_OFF, Offline)
"""Why a robot that took it does not go back at once."""


async def conclude(
    store: ConductingStore, outside: Surroundings, rollout: OpenRollout, decided: Plan, now: datetime
) -> None:
    """Writes the verdict of `decided`, if it is one and differs from what is recorded, and does what follows from it."""
    verdict, before = decided.verdict, RolloutStatus(rollout.status)
    if before is RolloutStatus.CANCELED:  # a person ended it: that is its verdict, and nothing failed
        return
    if verdict.status in (before, RolloutStatus.ROLLING) or (
        before is not RolloutStatus.ROLLING and not rollout.active
    ):
        return
    await store.finish(rollout.id, verdict.status, now)
    place = Place(rollout.project, rollout.environment, rollout.environments)
    stopped = decided.course.stopped
    failing = stopped is not None or verdict.status in (RolloutStatus.ROLLED_BACK, RolloutStatus.FAILED)
    nobody = failing and verdict.live == 0
    undo = rollout.policy.undo if rollout.policy is not None else Undo.FLEET
    back_to: DeploymentId | None = None
    bad = failing and rollout.active and rollout.kind == "deploy" and undo is not Undo.NOTHING
    recovers = bad and (nobody or undo is not Undo.ROBOT)
    if bad:
        why = stopped or f"it failed on {verdict.failed} of {verdict.total} robots"
        await store.put_quarantine(rollout, why, now)
    if recovers:
        back_to = await _back_to(store, rollout)
    if before is RolloutStatus.ROLLING:
        finished = RolloutFinished(
            status=verdict.status,
            live=verdict.live,
            pending=verdict.pending,
            failed=verdict.failed,
            total=verdict.total,
            seconds=(now - rollout.created_at).total_seconds(),
            undo=""
            if failing
            else undo_text(place, rollout.kind, rollout.previous, next(iter(decided.standings), None)),
            text=_told(rollout, decided, back_to, stopped) if failing else short_of(decided),
        )
        await store.tell(rollout.id, [finished], now, close=True)
    if recovers:
        keep = await _kept(store, rollout, decided) if undo is Undo.WAVE and not nobody else ()
        await _recover(store, outside, rollout, back_to, keep, decided, now)


async def _kept(store: ConductingStore, rollout: OpenRollout, decided: Plan) -> tuple[RobotId, ...]:
    """Robots of earlier steps, which keep what they took: only the step that failed is taken back."""
    earlier = await store.asked_before(rollout.id, decided.course.at)
    return tuple(id for id in earlier if decided.standings[id].status in CONFIRMED)


async def _back_to(store: ConductingStore, rollout: OpenRollout) -> DeploymentId | None:
    """The last good deployment before the failed one; where none was proven yet, the one that was live before it."""
    known = await store.candidates(rollout.project, rollout.environment, rollout.deployment)
    for candidate in (previous_of(known), rollout.previous):
        if candidate is not None and not await store.quarantine(rollout.project, rollout.environment, candidate):
            return candidate
    return None


async def _recover(
    store: ConductingStore,
    outside: Surroundings,
    rollout: OpenRollout,
    back_to: DeploymentId | None,
    keep: tuple[RobotId, ...],
    decided: Plan,
    now: datetime,
) -> None:
    """What is live goes back, so that robots that join or return do not get the bad one, and so do those that took it, all at once."""
    verdict = decided.verdict
    why = f"{rollout.deployment} {_on(verdict)}"
    where = f"project/{rollout.project}/{rollout.environment}"
    detail = {
        "failed": rollout.deployment,
        "live": back_to,
        "why": decided.course.stopped or why,
        "rollout": rollout.id,
    }
    await store.audit(SERVER, "environment.recover", where, detail)
    if back_to is None:
        await take_away(store, rollout.project, rollout.environment, rollout.deployment, now)
        return
    await begin(
        store,
        outside,
        deployment_id=back_to,
        environment=rollout.environment,
        kind="rollback",
        by=SERVER,
        reason=why,
        keep=keep,
    )


def short_of(decided: Plan) -> str:
    """Why a rollout that failed nowhere is partial all the same; empty where it is not."""
    verdict, wanted = decided.verdict, decided.course.min_success
    if verdict.status is not RolloutStatus.PARTIAL:
        return ""
    if decided.nobody is not None:
        return decided.nobody
    counted = verdict.total - verdict.skipped
    if wanted is None or verdict.live * 100 >= wanted * counted:
        return ""
    return f"{verdict.live} of {counted} robots confirmed it, {wanted:g} % wanted"


def _told(rollout: OpenRollout, decided: Plan, back_to: DeploymentId | None, stopped: str | None) -> str:
    verdict = decided.verdict
    returns = ""
    if back_to is not None:
        returns = f"; {back_to} is live again" + _who_returns(decided)
    return (
        f"{rollout.deployment} {rollout.version} {_on(verdict)}"
        + (f" and stopped ({stopped})" if stopped and verdict.live else "")
        + returns
    )


def _who_returns(decided: Plan) -> str:
    """How many robots go back to it, and which of them cannot at once."""
    took = decided.verdict.live
    moving = sum(one.reachable for one in decided.standings.values())
    away = sum(
        one.status is RobotStatus.PENDING and not one.reachable and any(isinstance(why, _LATER) for why in one.waiting)
        for id, one in decided.standings.items()
        if decided.standings.later is not one
    )
    said = [f"{took} robot{'s' if took != 1 else ''} go{'es' if took == 1 else ''} back to it"] if took else []
    said += [f"{moving} that {'were' if moving != 1 else 'was'} being updated too"] if moving else []
    said += [f"{away} that {'are' if away != 1 else 'is'} off or busy, when that is over"] if away else []
    return "".join(f", {one}" for one in said)


def _on(verdict: Verdict) -> str:
    robots = "1 robot" if verdict.failed == 1 else f"{verdict.failed} robots"
    return f"failed on {robots}"
