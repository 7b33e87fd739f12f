"""The conductor's store twice, in PostgreSQL and in memory: everything is done to both, and every answer must be the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from lekiwi_deploy.server.store import deployments, progress, quarantines, robots, sessions
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Database, Transaction, jsonb
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.installation import read_or_make
from lekiwi_deploy.server.store.sessions import NewReport
from lekiwi_deploy.testing.simulation.agenda import START
from lekiwi_deploy.testing.simulation.memory.conducting import MemoryConducting
from lekiwi_deploy.testing.simulation.memory.database import MemoryDatabase
from lekiwi_deploy.testing.simulation.memory.tables import EnvironmentRecord, RobotRecord, Writes
from lekiwi_deploy.testing.simulation.server_end import end_session, store_report
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import Report
from lekiwi_deploy.wire.policy import Policy, RolloutStep

PROJECT = ProjectName("lekiwi")
ENVIRONMENTS = tuple(EnvironmentName(name) for name in ("production", "staging"))
ROBOTS = tuple(RobotId(f"kiwi-{number}") for number in range(5))
DEPLOYMENTS = tuple(DeploymentId(f"dep_0000000{number}") for number in range(4))
POLICY = Policy(steps=(RolloutStep(robots=1, soak_s=60.0),), in_flight=3)


class Undone(Exception):
    """A transaction that is to leave nothing behind."""


def made(number: int) -> DeploymentRow:
    """A deployment that was built."""
    return DeploymentRow(
        id=DEPLOYMENTS[number],
        project=PROJECT,
        environment=ENVIRONMENTS[0],
        version=f"v{number}",
        created_by="anna",
        created_at=START + timedelta(minutes=number),
        source="push",
        status="built",
        package_hash=ManifestDigest(f"{number:064x}"),
    )


@dataclass
class Pair:
    """`cursors`: what `changed` said last, of each. `clock`: each write is at another time."""

    postgres: Database
    memory: MemoryDatabase = field(default_factory=MemoryDatabase)
    cursors: tuple[str, str] | None = None
    clock: datetime = START

    def now(self) -> datetime:
        """Later than before."""
        self.clock += timedelta(seconds=1)
        return self.clock

    async def begin(self) -> None:
        """Both as they are before anything: a project, environments, deployments, robots in the first environment."""
        async with self.postgres.transaction() as tx:
            await read_or_make(tx, bytes)
            for table in ("rollouts", "projects", "robot_changes", "progress", "progress_streams", "audit"):
                await tx.execute(f"DELETE FROM {table}")
            await tx.execute("INSERT INTO projects (name, created_by) VALUES (%s, 'anna')", (PROJECT,))
            for name in ENVIRONMENTS:
                sql = "INSERT INTO environments (project, name, policy) VALUES (%s, %s, %s)"
                await tx.execute(sql, (PROJECT, name, jsonb(POLICY)))
            for number in range(len(DEPLOYMENTS)):
                await deployments.insert(tx, made(number))
        with self.memory.writing() as writes:
            for name in ENVIRONMENTS:
                writes.put(writes.tables.environments, (PROJECT, name), EnvironmentRecord(policy=POLICY))
            for number, id in enumerate(DEPLOYMENTS):
                writes.put(writes.tables.deployments, id, made(number))
        for name in ROBOTS[:4]:
            await self.robot_comes(name)

    # --- what others than the conductor write

    async def robot_comes(self, name: RobotId) -> None:
        """A robot that is linked, in the first environment."""
        if name in self.memory.tables.robots:
            return
        now, labels = self.now(), {"hw": "v1"}
        row = RobotRecord(
            name=name, project=PROJECT, environment=ENVIRONMENTS[0], labels=labels, joined_at=now, session=f"ses_{name}"
        )
        with self.memory.writing() as writes:
            writes.put(writes.tables.robots, name, row)
            writes.append(writes.tables.changes, name)
        async with self.postgres.transaction() as tx:
            await robots.insert(tx, name, PROJECT, ENVIRONMENTS[0], labels, now)
            sql = "UPDATE robots SET joined_at = %s, session = %s WHERE name = %s"
            await tx.execute(sql, (now, f"ses_{name}", name))

    async def reports(self, name: RobotId, report: Report) -> None:
        """A robot says how it is, if it is linked."""
        if name not in self.memory.tables.robots:
            return
        now, session = self.now(), f"ses_{name}"
        with self.memory.writing() as writes:
            store_report(writes, name, session, report, now)
        async with self.postgres.transaction() as tx:
            await sessions.store_reports(tx, [NewReport(robot=name, session=session, report=report)], now)

    async def is_lost(self, name: RobotId) -> None:
        """A robot's link ends."""
        now, session = self.now(), f"ses_{name}"
        with self.memory.writing() as writes:
            end_session(writes, name, session, now)
        async with self.postgres.transaction() as tx:
            await sessions.end(tx, [session], now)

    async def robot(self, name: RobotId, **columns: Any) -> None:
        """These columns of a robot change."""
        if name not in self.memory.tables.robots:
            return
        with self.memory.writing() as writes:
            writes.robot(name, **columns)
        async with self.postgres.transaction() as tx:
            for column, value in columns.items():
                value = jsonb(value) if isinstance(value, dict) else value
                await tx.execute(f"UPDATE robots SET {column} = %s WHERE name = %s", (value, name))

    # --- what the conductor does

    async def both(
        self, do: Callable[[PostgresConducting | MemoryConducting], Awaitable[object]], *, undone: bool = False
    ) -> None:
        """Does it in one transaction each; `undone`: which then fails. The answers and hints are the same."""
        answers: list[object] = []
        hints: list[set[tuple[str, str]]] = []
        with suppress(Undone):
            async with self.postgres.transaction() as tx:
                answers.append(await do(PostgresConducting(tx)))
                hints.append({*tx.hints})
                if undone:
                    raise Undone
        with suppress(Undone), self.memory.writing() as writes:
            answers.append(await do(MemoryConducting(writes)))
            hints.append({*writes.hints})
            if undone:
                raise Undone
        assert normal(answers[0]) == normal(answers[1])
        assert hints[0] == hints[1]

    async def compare(self, rollouts: Sequence[str]) -> None:
        """Everything that can be read is the same."""
        later = self.clock + timedelta(hours=1)
        for look in ("hinted", "open", "all"):
            for now in (START, later):
                await self.both(lambda store, look=look, now=now: store.due([f"{PROJECT}/staging"], look, now))
        for id in (*rollouts, "rol_unknown0"):
            await self.both(lambda store, id=id: store.claim(id))
            await self.both(lambda store, id=id: store.rollout(id))
            await self.both(lambda store, id=id: _seen(store, id, None))
            await self.both(lambda store, id=id: _seen(store, id, ROBOTS[1:3]))
            await self.both(lambda store, id=id: _asked_before(store, id))
            await self.both(lambda store, id=id: store.rollout_by_key(f"key {id}"))
        for name in (*ENVIRONMENTS, "nowhere"):
            await self.both(lambda store, name=name: store.lock_environment(PROJECT, name))
            await self.both(lambda store, name=name: store.candidates(PROJECT, name, DEPLOYMENTS[1]))
            for robot in (None, ROBOTS[0]):
                await self.both(lambda store, name=name, robot=robot: _open(store, name, robot))
            for deployment in DEPLOYMENTS:
                await self.both(lambda store, name=name, id=deployment: store.quarantine(PROJECT, name, id))
        for deployment in (*DEPLOYMENTS, "dep_unknown0"):
            await self.both(lambda store, id=deployment: store.deployment(id))
        await self._compare_changes()
        async with self.postgres.transaction() as tx:
            await self._compare_told(tx, rollouts)

    async def _compare_changes(self) -> None:
        async with self.postgres.transaction() as tx:
            one = await PostgresConducting(tx).changed(self.cursors[0] if self.cursors else None)
        other = await MemoryConducting(Writes(self.memory.tables)).changed(self.cursors[1] if self.cursors else None)
        assert set(one.names) == set(other.names)
        self.cursors = (one.cursor, other.cursor)

    async def _compare_told(self, tx: Transaction, rollouts: Sequence[str]) -> None:
        tables = self.memory.tables
        for id in rollouts:
            assert await progress.read(tx, id) == tables.progress.get(id, [])
            assert (await progress.state(tx, id)).closed == tables.closed.get(id, False)
        written = await tx.rows("SELECT actor, action, target, detail FROM audit ORDER BY seq", None, Written)
        assert [msgspec.structs.asdict(one) for one in written] == [msgspec.structs.asdict(one) for one in tables.audit]
        for name in ENVIRONMENTS:
            held = {one.deployment for one in await quarantines.listed(tx, PROJECT, name)}
            rows = tables.quarantines.items()
            assert held == {id for (_, place, id), row in rows if place == name and row.lifted_at is None}
        ran = await tx.rows(
            "SELECT robot || ' ' || deployment || ' ' || status FROM robot_activations ORDER BY id", None, str
        )
        assert ran == [" ".join(one) for one in tables.ran]


class Written(msgspec.Struct, frozen=True):
    """One row of `audit`."""

    actor: str
    action: str
    target: str
    detail: dict[str, object]


async def _seen(store: PostgresConducting | MemoryConducting, id: str, only: Sequence[str] | None) -> object:
    return sorted(await store.seen(id, only), key=lambda row: row.robot)


async def _asked_before(store: PostgresConducting | MemoryConducting, id: str) -> object:
    return [sorted(await store.asked_before(id, step)) for step in (0, 1, 2)]


async def _open(store: PostgresConducting | MemoryConducting, name: str, robot: str | None) -> object:
    return sorted(await store.open_rollouts(PROJECT, name, robot), key=lambda row: row.id)


def normal(answer: object) -> object:
    """An answer without what may differ: the order of names, numbers of rows."""
    return sorted(answer) if isinstance(answer, set) else answer
