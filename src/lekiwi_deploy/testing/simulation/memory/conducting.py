"""The conductor's store in memory: `server.conducting_store.ConductingStore`, method by method what PostgreSQL does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.resolution import Candidates, Interval
from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.meanings import candidate
from lekiwi_deploy.server.store.activations import Ran
from lekiwi_deploy.server.store.conducting import Change, Changed, Deferring, Look, OpenRollout, SeenRow
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.quarantines import Quarantine
from lekiwi_deploy.server.store.rollouts import LiveRow, RolloutRow
from lekiwi_deploy.testing.simulation.memory.tables import ActivationRecord, AskedRecord, AuditRecord, Tables, Writes
from lekiwi_deploy.wire.api import RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, RobotId, RolloutId
from lekiwi_deploy.wire.progress import Body, Progress

replace = msgspec.structs.replace


class MemoryConducting:
    """One transaction. See the protocol for what each method means."""

    def __init__(self, writes: Writes) -> None:
        self.writes = writes
        self.tables: Tables = writes.tables

    # which rollouts to look at

    async def due(self, hints: Collection[str], look: Look, now: datetime) -> list[RolloutId]:
        live = {one.live_rollout: place for place, one in self.tables.environments.items() if one.live_rollout}
        found = []
        for row in self.tables.rollouts.values():
            open = row.status == RolloutStatus.ROLLING
            if not open and row.id not in live:
                continue
            place = f"{row.project}/{row.environment}"
            hinted = row.id in hints or place in hints or look == "all" or (look == "open" and open)
            if hinted or self._look_at(row.id, now):
                found.append(row)
        return [row.id for row in sorted(found, key=lambda row: (row.created_at, row.id))]

    def _look_at(self, rollout: str, now: datetime) -> bool:
        rows = self.tables.asked[rollout].values()
        return any(row.look_at is not None and row.look_at <= now for row in rows)

    async def claim(self, id: str) -> OpenRollout | None:
        row = self.tables.rollouts.get(id)
        if row is None:
            return None
        environment = self.tables.environments[row.project, row.environment]
        active = environment.live_rollout == id
        if row.status != RolloutStatus.ROLLING and not active:
            return None
        deployment = self.tables.deployments[row.deployment]
        assert deployment.package_hash is not None
        places = {one.environment for one in self.tables.robots.values() if one.project == row.project}
        return OpenRollout(
            **msgspec.structs.asdict(row),
            digest=deployment.package_hash,
            deployment_created_at=deployment.created_at,
            version=deployment.version,
            metadata=deployment.metadata,
            policy=environment.policy,
            epoch=self.tables.epoch,
            active=active,
            environments=len(places),
        )

    # its robots

    async def changed(self, since: str | None) -> Changed:
        changes = self.tables.changes
        names = sorted(set(changes[int(since) :])) if since is not None else ()
        return Changed(names=tuple(names), cursor=str(len(changes)))

    async def settle(
        self, id: str, project: str, environment: str, only: Collection[str] | None = None
    ) -> Collection[str]:
        robots, rows = self.tables.robots, self.tables.asked[id]
        here = (project, environment)
        names = sorted(rows) if only is None else sorted(RobotId(name) for name in only if name in rows)
        gone = [name for name in names if (robots[name].project, robots[name].environment) != here]
        for name in gone:
            self.writes.asks(id, name, None)
        came = [
            one.name
            for one in (robots.values() if only is None else [robots[name] for name in only if name in robots])
            if (one.project, one.environment) == here and one.name not in rows
        ]
        self._add(id, came)
        return {*gone, *came}

    def _add(self, id: str, names: Collection[RobotId], status: str = "pending") -> None:
        for name in names:
            report = self.tables.robots[name].report
            running = report.running.deployment if report is not None and report.running is not None else None
            self.writes.asks(id, name, AskedRecord(previous=running, status=status))

    async def seen(self, id: str, only: Collection[str] | None = None) -> list[SeenRow]:
        rows = self.tables.asked.get(id, {})
        names = sorted(rows) if only is None else sorted(RobotId(name) for name in only if name in rows)
        return [self._seen(name, rows[name]) for name in names]

    def _seen(self, name: RobotId, row: AskedRecord) -> SeenRow:
        robot = self.tables.robots[name]
        return SeenRow(
            robot=name,
            labels=robot.labels,
            status=row.status,
            assigned=row.generation,
            assigned_at=row.assigned_at,
            outcome=row.outcome,
            waiting=row.waiting,
            joined=robot.joined_at is not None,
            online=robot.session is not None,
            last_seen_at=robot.last_seen_at,
            platform=robot.platform,
            cloned_at=robot.cloned_at,
            by_hand=robot.by_hand,
            pinned_by=robot.pinned_by,
            pinned_at=robot.pinned_at,
            desired=robot.desired,
            generation=robot.generation,
            report=robot.report,
            deferring_since=robot.deferring_since,
            confirmed=row.confirmed_at is not None,
            environment=robot.environment,
            drained_by=robot.drained_by,
            drained_at=robot.drained_at,
            drained_why=robot.drained_why,
            unplaced=robot.unplaced,
        )

    async def asked_before(self, id: str, step: int) -> list[RobotId]:
        rows = self.tables.asked.get(id, {})
        return [name for name, row in sorted(rows.items()) if row.step is not None and row.step < step]

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
        for name in names:
            generation = self.tables.robots[name].generation + 1
            self.writes.robot(
                name,
                desired=DeploymentId(deployment),
                generation=generation,
                by_hand=by_hand is not None,
                pinned_by=by_hand,
                pinned_at=None if by_hand is None else now,
                force=forced_by is not None,
                forced_by=forced_by,
                resume=False,
                anytime=anytime,
            )
            if name in self.tables.asked[id]:
                self.writes.asked(id, RobotId(name), generation=generation, assigned_at=now, step=step)
            await self.hint("desired", name)

    async def unassign(self, project: str, environment: str, deployment: str) -> None:
        for name, one in sorted(self.tables.robots.items()):
            here = (one.project, one.environment) == (project, environment)
            if here and one.desired == deployment and not one.by_hand:
                self.writes.robot(name, desired=None, generation=one.generation + 1)
                await self.hint("desired", name)

    async def record(self, id: str, changes: Sequence[Change], now: datetime) -> None:
        for change in changes:
            row = self.tables.asked[id].get(change.robot)
            if row is None:
                continue
            confirmed_at = row.confirmed_at or now if change.confirmed else row.confirmed_at
            self.writes.asked(
                id,
                change.robot,
                status=str(change.status),
                outcome=change.outcome,
                waiting=change.waiting,
                look_at=change.look_at,
                confirmed_at=confirmed_at,
            )

    async def defer(self, changes: Sequence[Deferring], lock: Collection[str] = ()) -> None:
        for change in changes:
            self.writes.robot(change.robot, deferring_since=change.since)

    # rollouts

    async def rollout(self, id: str) -> RolloutRow | None:
        return self.tables.rollouts.get(id)

    async def rollout_by_key(self, key: str) -> RolloutId | None:
        return self.tables.keys.get(key)

    async def open_rollouts(self, project: str, environment: str, robot: str | None = None) -> list[RolloutRow]:
        return [
            row
            for row in self.tables.rollouts.values()
            if (row.project, row.environment, row.status) == (project, environment, RolloutStatus.ROLLING)
            and (row.kind != "robot" if robot is None else row.kind == "robot" and robot in self.tables.asked[row.id])
        ]

    async def insert_rollout(self, row: RolloutRow, key: str | None) -> None:
        status = RolloutStatus.ROLLING.value
        new = replace(row, status=status, finished_at=None, total=0, live=0, pending=0, failed=0)
        self.writes.put(self.tables.rollouts, row.id, new)
        self.writes.put(self.tables.asked, row.id, {})
        if key is not None:
            self.writes.put(self.tables.keys, key, row.id)

    async def add_robots(self, id: str, project: str, environment: str, names: Sequence[str] | None) -> int:
        came = [
            one.name
            for one in self.tables.robots.values()
            if (one.project, one.environment) == (project, environment)
            and (names is None or one.name in names)
            and one.name not in self.tables.asked[id]
        ]
        self._add(id, came)
        return len(came)

    async def keep_robots(self, id: str, names: Sequence[str]) -> None:
        self._add(id, [RobotId(name) for name in names if name in self.tables.robots], status="superseded")

    async def set_course(self, id: str, course: Course) -> None:
        self._rollout(id, course=course)

    async def set_counts(self, id: str, *, total: int, live: int, pending: int, failed: int) -> None:
        self._rollout(id, total=total, live=live, pending=pending, failed=failed)

    async def finish(self, id: str, status: str, now: datetime) -> None:
        row = self.tables.rollouts.get(id)
        if row is not None:
            self._rollout(id, status=str(RolloutStatus(status).value), finished_at=row.finished_at or now)

    def _rollout(self, id: str, **columns: object) -> None:
        row = self.tables.rollouts.get(id)
        if row is not None:
            self.writes.put(self.tables.rollouts, id, replace(row, **columns))

    # environments and what was live there

    async def lock_environment(self, project: str, environment: str) -> LiveRow | None:
        row = self.tables.environments.get((project, environment))
        return None if row is None else LiveRow(live=row.live, live_rollout=row.live_rollout, policy=row.policy)

    async def set_live(self, project: str, environment: str, live: str | None, rollout: str | None) -> None:
        row = self.tables.environments.get((project, environment))
        if row is not None:
            new = replace(row, live=live, live_rollout=rollout)
            self.writes.put(self.tables.environments, (project, environment), new)

    async def open_activation(
        self, project: str, environment: str, deployment: str, rollout: str, now: datetime, total: int
    ) -> None:
        await self.close_activation(project, environment, now)
        row = ActivationRecord(
            project=project,
            environment=environment,
            deployment=DeploymentId(deployment),
            rollout=RolloutId(rollout),
            since=now,
            total=total,
        )
        self.writes.put(self.tables.activations, len(self.tables.activations), row)

    async def close_activation(self, project: str, environment: str, now: datetime) -> None:
        for number, row in self.tables.activations.items():
            if (row.project, row.environment) == (project, environment) and row.until is None:
                self.writes.put(self.tables.activations, number, replace(row, until=now))

    async def ran(self, deployment: str, ran: Sequence[Ran], now: datetime) -> None:
        for one in ran:
            self.writes.append(self.tables.ran, (one.robot, deployment, str(one.status)))

    async def count_activation(self, rollout: str, *, good: int, healthy: int, total: int) -> None:
        for number, row in self.tables.activations.items():
            if row.rollout == rollout:
                counts = replace(row, good=max(row.good, good), healthy=max(row.healthy, healthy), total=total)
                self.writes.put(self.tables.activations, number, counts)

    async def candidates(self, project: str, environment: str, current: DeploymentId | None) -> Candidates:
        rows = [
            row for row in self.tables.activations.values() if (row.project, row.environment) == (project, environment)
        ]
        found = {row.deployment: candidate(self.tables.deployments[row.deployment]) for row in rows}
        intervals = [
            Interval(row.deployment, row.since, row.until, row.good, row.healthy, row.total)
            for row in sorted(rows, key=lambda row: row.since)
        ]
        spoiled = {
            deployment
            for one in self.tables.robots.values()
            if (one.project, one.environment) == (project, environment) and one.report is not None
            for deployment in one.report.quarantined
        }
        return Candidates(
            environment=environment,
            deployments=found,
            intervals=tuple(intervals),
            current=current,
            quarantined=frozenset(spoiled),
        )

    # deployments

    async def deployment(self, id: str) -> DeploymentRow | None:
        return self.tables.deployments.get(id)

    async def set_deployment_rollout(self, id: str, rollout: RolloutId) -> None:
        row = self.tables.deployments.get(id)
        if row is not None:
            self.writes.put(self.tables.deployments, id, replace(row, rollout=rollout))

    async def quarantine(self, project: str, environment: str, deployment: str) -> Quarantine | None:
        row = self.tables.quarantines.get((project, environment, deployment))
        return row if row is not None and row.lifted_at is None else None

    async def put_quarantine(self, rollout: RolloutRow, why: str, now: datetime) -> None:
        row = Quarantine(
            deployment=rollout.deployment, why=why, rollout=rollout.id, at=now, lifted_by=None, lifted_at=None
        )
        self.writes.put(self.tables.quarantines, (rollout.project, rollout.environment, rollout.deployment), row)

    async def lift_quarantine(self, project: str, environment: str, deployment: str, by: str, now: datetime) -> None:
        row = await self.quarantine(project, environment, deployment)
        if row is not None:
            lifted = replace(row, lifted_by=by, lifted_at=now)
            self.writes.put(self.tables.quarantines, (project, environment, deployment), lifted)

    # telling

    async def tell(self, stream: str, bodies: Sequence[Body], now: datetime, close: bool = False) -> None:
        if not bodies and not close:
            return
        rows = self.tables.progress.get(stream)
        if rows is None:
            rows = []
            self.writes.put(self.tables.progress, stream, rows)
        for body in bodies:
            self.writes.append(rows, Progress(stream=stream, seq=len(rows) + 1, at=now, body=body))
        if close:
            self.writes.put(self.tables.closed, stream, True)
        await self.hint("progress", stream)

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
        row = AuditRecord(actor=actor, action=action, target=target, detail=dict(detail))
        self.writes.append(self.tables.audit, row)
        return len(self.tables.audit)

    async def hint(self, topic: str, id: str) -> None:
        self.writes.hints[topic, id] = None
