"""The conductor over PostgreSQL: two at once, one that dies between any two of its calls, notes of what was written, robots that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleet_world import PRODUCTION, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server import conductor
from lekiwi_deploy.server.conducting_store import Stage
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.looking import Memory
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import conducting
from lekiwi_deploy.server.store.conducted import PostgresConducting, stage_of
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId

pytestmark = pytest.mark.engine

DEPLOYMENT = DeploymentId("dep_new00000")
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def rows(context: Context, sql: str, *values: object) -> list[Any]:
    async with context.database.transaction() as tx:
        return list(await (await tx.execute(sql, values)).fetchall())


async def write(context: Context, sql: str, *values: object) -> None:
    async with context.database.transaction() as tx:
        await tx.execute(sql, values)


async def rolling(context: Context, robots: int = 6) -> RolloutId:
    """A rollout over robots that are linked, as rows; nobody conducts it."""
    await write(context, "INSERT INTO projects (name, created_by) VALUES ('web', 'anna')")
    await write(context, "INSERT INTO environments (project, name) VALUES ('web', 'production'), ('web', 'staging')")
    await write(
        context,
        """INSERT INTO deployments (id, project, version, created_by, source, status, package_hash)
        VALUES (%s, 'web', 'v1', 'anna', 'push', 'built', repeat('a', 64))""",
        DEPLOYMENT,
    )
    await write(
        context,
        """INSERT INTO robots (name, project, environment, joined_at, session, generation, last_seen_at)
        SELECT 'kiwi-' || n, 'web', 'production', now(), 'ses' || n, 3, now() FROM generate_series(1, %s) AS n""",
        robots,
    )
    async with context.database.transaction() as tx:
        return await start_rollout(
            tx, context, deployment_id=DEPLOYMENT, environment=PRODUCTION, kind="deploy", by="anna", reason="pushed"
        )


async def everything(context: Context) -> list[Any]:
    """All that a step may write."""
    found = []
    for table in (
        "rollouts",
        "rollout_robots",
        "environments",
        "activations",
        "robot_activations",
        "quarantines",
        "progress",
        "audit",
    ):
        found += await rows(context, f"SELECT x.*::text FROM {table} x ORDER BY 1")
    return found + await rows(context, "SELECT name, desired, generation, deferring_since FROM robots ORDER BY name")


async def healthy(context: Context, *names: str) -> None:
    """These robots report, under the generation that they have, that it runs and is healthy."""
    await write(
        context,
        """UPDATE robots SET last_seen_at = now(), report = jsonb_build_object('number', 1, 'epoch', 1, 'generation', generation, 'phase', 'idle',
            'running', jsonb_build_object('deployment', desired, 'digest', repeat('a', 64), 'healthy', true, 'good', true, 'since', now()))
        WHERE name = ANY(%s)""",
        list(names),
    )


class Dies(Exception):
    """The process ends here."""


def dying(context: Context, calls: int) -> Stage:
    """A stage whose store ends the process at call number `calls` + 1, before it does anything."""
    stage = stage_of(context)
    left = calls

    class Dying:
        def __init__(self, store: object) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Dies(name)
            return getattr(self._store, name)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with stage.open() as store:
            yield Dying(store)
            nonlocal left
            if left == 0:
                left -= 1
                raise Dies("before the commit")

    return Stage(opened, stage.now, stage.random)


async def test_a_conductor_that_dies_between_any_two_calls_leaves_nothing_and_the_next_goes_on(
    context: Context,
) -> None:
    rollout = await rolling(context)
    memory = Memory()
    for names in ((), ("kiwi-1", "kiwi-2"), ("kiwi-3", "kiwi-4", "kiwi-5", "kiwi-6")):
        await healthy(context, *names)
        before, calls = await everything(context), 0
        while True:
            try:
                await conductor.advance(dying(context, calls), rollout, _LONG_AGO, memory)
                break
            except Dies:
                assert await everything(context) == before, calls
                calls += 1
        assert calls > 5
    assert await rows(context, "SELECT status, live, total FROM rollouts") == [("done", 6, 6)]
    assert {row[0] for row in await rows(context, "SELECT generation FROM robots")} == {4}, "each was asked once"
    numbers = [
        row[0] for row in await rows(context, "SELECT seq FROM progress WHERE stream = %s ORDER BY seq", rollout)
    ]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_two_conductors_ask_every_robot_once_and_tell_everything_once(world: FleetWorld) -> None:
    second = asyncio.create_task(conductor.run(world.context))
    try:
        for _ in range(5):
            await world.robot()
        for _ in range(3):
            deployment = await world.build()
            rollout = await world.roll_out(deployment)
            assert (await world.finished(rollout)).status == RolloutStatus.DONE
            told = [entry.body for entry in await world.story(rollout)]
            ends = [one for one in told if getattr(one, "status", None) == RobotStatus.HEALTHY]
            assert len(ends) == len({one.robot for one in ends}) == 5  # type: ignore[union-attr]
    finally:
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
    assert {row[0] for row in await rows(world.context, "SELECT generation FROM robots")} == {3}


async def test_two_conductors_that_take_turns_see_what_the_other_one_wrote(context: Context) -> None:
    rollout = await rolling(context)
    one, other = Memory(), Memory()
    stage = stage_of(context)
    for memory in (one, other, one):
        await conductor.advance(stage, rollout, _LONG_AGO, memory)
    await healthy(context, "kiwi-1", "kiwi-2", "kiwi-3")
    await conductor.advance(stage, rollout, _LONG_AGO, other)
    await healthy(context, "kiwi-4", "kiwi-5", "kiwi-6")
    await conductor.advance(stage, rollout, _LONG_AGO, one)
    assert await rows(context, "SELECT status, live, pending FROM rollouts") == [("done", 6, 0)]
    before = await everything(context)
    await conductor.advance(stage, rollout, _LONG_AGO, other)
    assert await everything(context) == before


async def test_what_is_written_by_a_transaction_that_ends_late_is_not_missed(context: Context) -> None:
    await rolling(context)
    async with context.database.transaction() as tx:
        cursor = (await conducting.changed(tx, None)).cursor
    async with context.database.transaction() as late:
        await late.execute("UPDATE robots SET labels = '{\"hw\": \"v2\"}' WHERE name = 'kiwi-2'")
        await write(context, "UPDATE robots SET labels = '{\"hw\": \"v3\"}' WHERE name = 'kiwi-1'")
        async with context.database.transaction() as tx:
            first = await conducting.changed(tx, cursor)
        assert first.names == ("kiwi-1",)
    async with context.database.transaction() as tx:
        second = await conducting.changed(tx, first.cursor)
        assert second.names == ("kiwi-2",)
        await tx.execute("UPDATE robots SET session = NULL WHERE name = 'kiwi-3'")
    async with context.database.transaction() as tx:
        assert (await conducting.changed(tx, second.cursor)).names == ("kiwi-3",), (
            "what the asker itself wrote after it asked"
        )


async def test_robots_that_come_to_an_environment_join_its_rollout_and_those_that_go_leave_it(context: Context) -> None:
    rollout = await rolling(context)
    memory, stage = Memory(), stage_of(context)
    await conductor.advance(stage, rollout, _LONG_AGO, memory)
    await write(context, "UPDATE robots SET environment = 'staging' WHERE name IN ('kiwi-1', 'kiwi-2')")
    await write(
        context,
        "INSERT INTO robots (name, project, environment, joined_at, session, last_seen_at) VALUES ('late', 'web', 'production', now(), 's', now())",
    )
    await write(context, "DELETE FROM robots WHERE name = 'kiwi-3'")
    await conductor.advance(stage, rollout, _LONG_AGO, memory)
    found = await rows(context, "SELECT robot, status FROM rollout_robots ORDER BY robot")
    assert found == [(name, "assigned") for name in ("kiwi-4", "kiwi-5", "kiwi-6", "late")]
    assert await rows(context, "SELECT total, pending FROM rollouts") == [(4, 4)]
    await healthy(context, "kiwi-4", "kiwi-5", "kiwi-6", "late")
    await conductor.advance(stage, rollout, _LONG_AGO, memory)
    assert await rows(context, "SELECT status, live, total FROM rollouts") == [("done", 4, 4)]


async def test_notes_of_changes_are_dropped_and_everything_is_read_anew_in_time(context: Context) -> None:
    rollout = await rolling(context)
    memory, now = Memory(), [context.now()]
    stage = Stage(stage_of(context).open, lambda: now[0], context.random)
    await conductor.advance(stage, rollout, _LONG_AGO, memory)
    await healthy(context, *(f"kiwi-{n}" for n in range(1, 7)))
    async with context.database.transaction() as tx:
        await conducting.forget_changes(tx, context.now() + timedelta(days=1))
    assert await rows(context, "SELECT * FROM robot_changes") == []
    now[0] += timedelta(minutes=5)
    await conductor.advance(stage, rollout, _LONG_AGO, memory)
    assert await rows(context, "SELECT status FROM rollouts") == [("done",)]


def test_the_store_of_postgres_has_every_method_of_the_protocol() -> None:
    from lekiwi_deploy.server.conducting_store import ConductingStore

    methods = {name for name in vars(ConductingStore) if not name.startswith("_")}
    assert methods <= set(vars(PostgresConducting))
