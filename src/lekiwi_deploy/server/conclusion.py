"""What follows when a rollout has come to something: the verdict is told, and what failed everywhere stops being live."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.fleet.resolution import previous_of
from lekiwi_deploy.fleet.rollout import Plan
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.meanings import read_candidates
from lekiwi_deploy.server.overdue import SERVER
from lekiwi_deploy.server.rollouts import Place, start_rollout, take_away, undo_text
from lekiwi_deploy.server.store import audit, progress, rollouts
from lekiwi_deploy.server.store.conducting import OpenRollout
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.progress import RolloutFinished


async def conclude(tx: Transaction, context: Context, rollout: OpenRollout, decided: Plan, now: datetime) -> None:
    """Writes the verdict of `decided`, if it is one and differs from what is recorded, and does what follows from it."""
    verdict, before = decided.verdict, RolloutStatus(rollout.status)
    if verdict.status in (before, RolloutStatus.ROLLING) or (
        before is not RolloutStatus.ROLLING and not rollout.active
    ):
        return
    await rollouts.finish(tx, rollout.id, verdict.status, now)
    place = Place(rollout.project, rollout.environment, rollout.environments)
    failing = verdict.status in (RolloutStatus.ROLLED_BACK, RolloutStatus.FAILED)
    back_to: DeploymentId | None = None
    recovers = failing and rollout.active and rollout.kind == "deploy" and _rolls_back(rollout)
    if recovers:
        back_to = await _back_to(tx, rollout)
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
            text=_told(rollout, verdict.failed, back_to) if failing else "",
        )
        await progress.append(tx, rollout.id, [finished], now, close=True)
    if recovers:
        await _recover(tx, context, rollout, back_to, now)


async def _back_to(tx: Transaction, rollout: OpenRollout) -> DeploymentId | None:
    """The last good deployment before the failed one; where none was proven yet, the one that was live before it."""
    known = await read_candidates(tx, rollout.project, rollout.environment, selector=None, current=rollout.deployment)
    return previous_of(known) or rollout.previous


async def _recover(
    tx: Transaction, context: Context, rollout: OpenRollout, back_to: DeploymentId | None, now: datetime
) -> None:
    """No robot took it: what is live goes back too, so that robots that join or return do not get the bad one."""
    why = f"{rollout.deployment} failed on {'every robot' if rollout.total > 1 else 'its robot'}"
    where = f"project/{rollout.project}/{rollout.environment}"
    await audit.record(
        tx, SERVER, "environment.recover", where, {"failed": rollout.deployment, "live": back_to, "why": why}
    )
    if back_to is None:
        await take_away(tx, rollout.project, rollout.environment, rollout.deployment, now)
        return
    await start_rollout(
        tx,
        context,
        deployment_id=back_to,
        environment=rollout.environment,
        kind="rollback",
        by=SERVER,
        reason=why,
    )


def _rolls_back(rollout: OpenRollout) -> bool:
    return rollout.policy is None or rollout.policy.rollback_on_error is not False


def _told(rollout: OpenRollout, failed: int, back_to: DeploymentId | None) -> str:
    robots = "1 robot" if failed == 1 else f"{failed} robots"
    now = f"; {back_to} is live again" if back_to else ""
    return f"{rollout.deployment} {rollout.version} failed on {robots}{now}"
