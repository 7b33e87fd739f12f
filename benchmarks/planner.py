"""The plan of a rollout over 10,000 robots, beside 1,000: all of them at once, one tick after ten changed, and that tick through PostgreSQL."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.figure import Figure
from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.fleet.rollout import Fleet, Seen, Target, plan
from lekiwi_deploy.server import conductor
from lekiwi_deploy.server.conducting_store import Stage
from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres
from lekiwi_deploy.server.looking import Memory
from lekiwi_deploy.server.rollouts import begin
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.server.store.migrate import migrate
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import Phase, Report, Running
from lekiwi_deploy.wire.policy import RolloutStep

NOW = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
SIZES = (1_000, 10_000)
CHANGED = 10
ROUNDS = 15
STEPS = (RolloutStep(robots=1), RolloutStep(percent=25.0, soak_s=600.0))
TARGET = Target(
    DeploymentId("dep_new00000"), ManifestDigest("a" * 64), NOW, "deploy", epoch=1, rollout="rol_1", began=NOW, expires=timedelta(days=7)
)  # fmt: skip


def measure() -> list[Figure]:
    """Figures of this machine."""
    whole = {size: _median(lambda size=size: _whole(size)) for size in SIZES}  # type: ignore[misc]
    tick = {size: _ticks(size) for size in SIZES}
    rows = asyncio.run(_through_postgres())
    small, large = SIZES
    return [
        _figure(f"plan of {large:,} robots, all of them, processor time", whole[large], whole[small], "< 50 ms", whole[large] < 50),
        _figure(
            f"tick of {large:,} robots, {CHANGED} changed", tick[large], tick[small], "grows with what changed", tick[large] < 3 * tick[small]
        ),
        _figure(
            f"tick of {large:,} robots, {CHANGED} changed, in PostgreSQL", rows[large], rows[small], "grows with what changed",
            rows[large] < 3 * rows[small],
        ),
    ]  # fmt: skip


def _figure(name: str, value: float, baseline: float, target: str, met: bool) -> Figure:
    return Figure(
        name=name, value=value, unit="ms", baseline=baseline, baseline_is=f"{SIZES[0]:,} robots", target=target, met=met
    )


def _median(once: Callable[[], float]) -> float:
    return statistics.median(once() for _ in range(ROUNDS))


def _robots(size: int) -> list[Seen]:
    running = Running(
        deployment=DeploymentId("dep_old00000"), digest=ManifestDigest("b" * 64), healthy=True, good=True, since=NOW
    )
    report = Report(number=1, epoch=1, generation=3, phase=Phase.IDLE, running=running)
    return [
        Seen(RobotId(f"kiwi-{n:05}"), generation=3, last_seen_at=NOW, report=report, labels={"site": f"s{n % 50}"})
        for n in range(size)
    ]


def _whole(size: int) -> float:
    """In processor time: it waits for nothing, and other programs of the machine are not its cost."""
    robots = _robots(size)
    gc.collect()
    began = time.process_time()
    plan(TARGET, robots, NOW, Course(steps=STEPS, in_flight=50))
    return 1000 * (time.process_time() - began)


def _ticks(size: int) -> float:
    robots = _robots(size)
    fleet, course = Fleet("rol_1"), Course(steps=STEPS, in_flight=50)
    fleet.update(robots)
    course = fleet.plan(TARGET, NOW, course).course
    spans = []
    for number in range(200):
        now = NOW + timedelta(seconds=number)
        changed = [replace(robot, last_seen_at=now) for robot in robots[CHANGED * number % size :][:CHANGED]]
        began = time.perf_counter()
        fleet.update(changed)
        fleet.plan(TARGET, now, course)
        spans.append(1000 * (time.perf_counter() - began))
    return statistics.median(spans)


async def _through_postgres() -> dict[int, float]:
    """One step of the conductor for each size: claimed, read, planned, written, committed."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o711)
    engine = EmbeddedPostgres(folder)
    url = engine.start()
    try:
        migrate(url)
        database = Database(url, replica="rep_bench")
        await database.open()
        try:
            return {size: await _steps(database, size) for size in SIZES}
        finally:
            await database.close()
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _steps(database: Database, size: int) -> float:
    now = datetime.now(UTC)

    @asynccontextmanager
    async def opened() -> AsyncIterator[PostgresConducting]:
        async with database.transaction() as tx:
            yield PostgresConducting(tx)

    stage = Stage(opened, lambda: datetime.now(UTC), os.urandom)
    place = f"p{size}"
    deployment = DeploymentId(f"dep_{size:08}")
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO server (id, ticket_key) VALUES ('srv', '') ON CONFLICT DO NOTHING")
        await tx.execute("INSERT INTO projects (name, created_by) VALUES (%s, 'anna')", (place,))
        await tx.execute(
            """INSERT INTO environments (project, name, policy) VALUES (%s, 'production',
            '{"steps": [{"robots": 1}, {"percent": 25, "soak_s": 600}], "in_flight": 50}')""",
            (place,),
        )
        await tx.execute(
            """INSERT INTO deployments (id, project, version, created_by, source, status, package_hash)
            VALUES (%s, %s, 'v1', 'anna', 'push', 'built', %s)""",
            (deployment, place, "a" * 64),
        )
        await tx.execute(
            """INSERT INTO robots (name, project, environment, joined_at, session, generation, last_seen_at, report)
            SELECT %(p)s || '-' || n, %(p)s, 'production', now(), 'ses' || n, 3, now(), jsonb_build_object('number', 1, 'epoch', 1,
                'generation', 3, 'phase', 'idle', 'running', jsonb_build_object('deployment', 'dep_old', 'digest', repeat('b', 64),
                'healthy', true, 'good', true, 'since', now())) FROM generate_series(1, %(size)s) AS n""",
            {"p": place, "size": size},
        )
        rollout = await begin(
            PostgresConducting(tx), stage, deployment_id=deployment, environment=EnvironmentName("production"), kind="deploy", by="anna",
            reason="measured",
        )  # fmt: skip
    async with database.transaction() as tx:
        await tx.execute("ANALYZE")
    memory, spans = Memory(), []
    await conductor.advance(stage, rollout, now, memory)
    for number in range(60):
        async with database.transaction() as tx:
            names = [f"{place}-{1 + (CHANGED * number + one) % size}" for one in range(CHANGED)]
            await tx.execute(
                "UPDATE robots SET last_seen_at = now(), report = jsonb_set(report, '{number}', %s) WHERE name = ANY(%s)",
                (str(number), names),
            )
        began = time.perf_counter()
        await conductor.advance(stage, rollout, now, memory)
        spans.append(1000 * (time.perf_counter() - began))
    return statistics.median(spans)
