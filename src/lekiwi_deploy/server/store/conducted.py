"""The conductor's store in PostgreSQL: `server.conducting_store.ConductingStore` over one transaction, out of the functions of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.resolution import Candidates
from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.conducting_store import Stage
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.meanings import read_candidates
from lekiwi_deploy.server.store import (
    activations,
    audit,
    conducting,
    deployments,
    progress,
    quarantines,
    rollouts,
    waits,
)
from lekiwi_deploy.server.store.activations import Ran
from lekiwi_deploy.server.store.conducting import Change, Changed, Deferring, Look, OpenRollout, SeenRow
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.quarantines import Quarantine
from lekiwi_deploy.server.store.rollouts import LiveRow, RolloutRow
from lekiwi_deploy.wire.ids import DeploymentId, RobotId, RolloutId
from lekiwi_deploy.wire.progress import Body


def stage_of(context: Context) -> Stage:
    """The conductor's stage in this server."""

    @asynccontextmanager
    async def open() -> AsyncIterator[PostgresConducting]:
        async with context.database.transaction() as tx:
            yield PostgresConducting(tx)

    return Stage(open, context.now, context.random)


class PostgresConducting:
    """See the protocol for what each method means."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx

    async def due(self, hints: Collection[str], look: Look, now: datetime) -> list[RolloutId]:
        return await conducting.due(self.tx, hints, look, now)

    async def claim(self, id: str) -> OpenRollout | None:
        return await conducting.claim(self.tx, id)

    async def changed(self, since: str | None) -> Changed:
        return await conducting.changed(self.tx, since)

    async def settle(
        self, id: str, project: str, environment: str, only: Collection[str] | None = None
    ) -> Collection[str]:
        return await conducting.settle(self.tx, id, project, environment, only)

    async def seen(self, id: str, only: Collection[str] | None = None) -> list[SeenRow]:
        return await conducting.seen(self.tx, id, only)

    async def asked_before(self, id: str, step: int) -> list[RobotId]:
        return await rollouts.asked_before(self.tx, id, step)

    async def assign(
        self,
        id: str,
        names: Sequence[str],
        deployment: str,
        *,
        by_hand: str | None,
        forced_by: str | None,
        step: int,
        anytime: bool,
        now: datetime,
    ) -> None:
        await conducting.assign(
            self.tx,
            id,
            names,
            deployment,
            by_hand=by_hand,
            forced_by=forced_by,
            step=step,
            anytime=anytime,
            now=now,
        )

    async def unassign(self, project: str, environment: str, deployment: str) -> None:
        await conducting.unassign(self.tx, project, environment, deployment)

    async def record(self, id: str, changes: Sequence[Change], now: datetime) -> None:
        await conducting.record(self.tx, id, changes, now)
        if changes:
            await waits.note(self.tx, id, {one.robot: one.waiting for one in changes}, now)

    async def defer(self, changes: Sequence[Deferring], lock: Collection[str] = ()) -> None:
        await conducting.defer(self.tx, changes, lock)

    async def rollout(self, id: str) -> RolloutRow | None:
        return await rollouts.read(self.tx, id)

    async def rollout_by_key(self, key: str) -> RolloutId | None:
        return await rollouts.by_key(self.tx, key)

    async def open_rollouts(self, project: str, environment: str, robot: str | None = None) -> list[RolloutRow]:
        return await rollouts.open_in(self.tx, project, environment, robot)

    async def insert_rollout(self, row: RolloutRow, key: str | None) -> None:
        await rollouts.insert(
            self.tx,
            id=row.id,
            project=row.project,
            environment=row.environment,
            deployment=row.deployment,
            kind=row.kind,
            by=row.by_whom,
            reason=row.reason,
            force=row.force,
            previous=row.previous,
            now=row.created_at,
            key=key,
            course=row.course,
        )

    async def add_robots(self, id: str, project: str, environment: str, names: Sequence[str] | None) -> int:
        return await rollouts.add_robots(self.tx, id, project, environment, names)

    async def keep_robots(self, id: str, names: Sequence[str]) -> None:
        await rollouts.keep_robots(self.tx, id, names)

    async def set_course(self, id: str, course: Course) -> None:
        await rollouts.set_course(self.tx, id, course)

    async def set_counts(self, id: str, *, total: int, live: int, pending: int, failed: int) -> None:
        await rollouts.set_counts(self.tx, id, total=total, live=live, pending=pending, failed=failed)

    async def finish(self, id: str, status: str, now: datetime) -> None:
        await rollouts.finish(self.tx, id, status, now)

    async def lock_environment(self, project: str, environment: str) -> LiveRow | None:
        return await rollouts.lock_environment(self.tx, project, environment)

    async def set_live(self, project: str, environment: str, live: str | None, rollout: str | None) -> None:
        await rollouts.set_live(self.tx, project, environment, live, rollout)

    async def open_activation(
        self, project: str, environment: str, deployment: str, rollout: str, now: datetime, total: int
    ) -> None:
        await activations.open_one(self.tx, project, environment, deployment, rollout, now, total)

    async def close_activation(self, project: str, environment: str, now: datetime) -> None:
        await activations.close_open(self.tx, project, environment, now)

    async def ran(self, deployment: str, ran: Sequence[Ran], now: datetime) -> None:
        await activations.record(self.tx, deployment, ran, now)

    async def count_activation(self, rollout: str, *, good: int, healthy: int, total: int) -> None:
        await activations.count(self.tx, rollout, good=good, healthy=healthy, total=total)

    async def candidates(self, project: str, environment: str, current: DeploymentId | None) -> Candidates:
        return await read_candidates(self.tx, project, environment, selector=None, current=current)

    async def deployment(self, id: str) -> DeploymentRow | None:
        return await deployments.read(self.tx, id)

    async def set_deployment_rollout(self, id: str, rollout: RolloutId) -> None:
        await deployments.set_rollout(self.tx, id, rollout)

    async def quarantine(self, project: str, environment: str, deployment: str) -> Quarantine | None:
        return await quarantines.holding(self.tx, project, environment, deployment)

    async def put_quarantine(self, rollout: RolloutRow, why: str, now: datetime) -> None:
        await quarantines.put(self.tx, rollout, why, now)

    async def lift_quarantine(self, project: str, environment: str, deployment: str, by: str, now: datetime) -> None:
        await quarantines.lift(self.tx, project, environment, deployment, by, now)

    async def tell(self, stream: str, bodies: Sequence[Body], now: datetime, close: bool = False) -> None:
        await progress.append(self.tx, stream, bodies, now, close)

    async def audit(
        self,
        actor: str,
        action: str,
        target: str,
        detail: Mapping[str, object],
        *,
        reason: str = "",
        undo: Inverse | None = None,
    ) -> int:
        return await audit.record(self.tx, actor, action, target, detail, reason=reason, undo=undo)

    async def hint(self, topic: str, id: str) -> None:
        await self.tx.notify(topic, id)
