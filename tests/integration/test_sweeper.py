"""Keeping the house: partitions, what expired, and robots of servers that are gone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest

from lekiwi_deploy.server import sweeper
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import packs, partitions, projects, replicas
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName

pytestmark = pytest.mark.engine


def _at(context: Context, now: datetime) -> Context:
    return dataclasses.replace(context, now=lambda: now)


async def _partitions(context: Context) -> list[str]:
    async with context.database.transaction() as tx:
        return await tx.rows(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'logs'::regclass ORDER BY 1",
            None,
            str,
        )


async def test_there_is_always_a_partition_for_now_and_old_ones_go(context: Context) -> None:
    later = datetime(2031, 5, 5, 12, tzinfo=UTC)
    await sweeper.keep_house(_at(context, later))
    assert await _partitions(context) == ["logs_20310504", "logs_20310505", "logs_20310506", "logs_20310507"]
    async with context.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO logs (project, service, at, stored_at, stream, text) VALUES ('web', 's', %s, %s, 'out', 'x')",
            (later, later + timedelta(days=2)),
        )


async def test_making_partitions_twice_changes_nothing(context: Context) -> None:
    for _ in range(2):
        async with context.database.transaction() as tx:
            await partitions.make_days(tx, date(2031, 1, 30), 4)
    assert [name for name in await _partitions(context) if name > "logs_2031"] == [
        "logs_20310130", "logs_20310131", "logs_20310201", "logs_20310202",
    ]  # fmt: skip


async def test_robots_of_a_silent_server_are_offline_and_their_environment_is_looked_at(context: Context) -> None:
    now = context.now()
    async with context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("web"), "anna", now)
        await projects.ensure_environment(tx, ProjectName("web"), EnvironmentName("production"), now)
        await replicas.announce(tx, "rep_gone", now - 2 * replicas.SILENT_AFTER)
        for robot, replica in (("r1", "rep_gone"), ("r2", context.replica), ("r3", "rep_never_heard_of")):
            await tx.execute(
                "INSERT INTO robots (name, project, environment, session, session_replica) "
                "VALUES (%s, 'web', 'production', 's', %s)",
                (robot, replica),
            )
    with context.nudges.subscribe("rollout") as hint:
        await sweeper.mind_replicas(context)
        assert await hint.wait(5) == {"web/production"}
    async with context.database.transaction() as tx:
        assert await tx.rows("SELECT name FROM robots WHERE session IS NOT NULL", None, str) == ["r2"]
        assert await tx.rows("SELECT id FROM replicas", None, str) == [context.replica]


async def test_old_packs_are_deleted_and_made_again_when_wanted(context: Context) -> None:
    await context.objects.put("packs/old", b"x")
    await context.objects.put("packs/new", b"x")
    async with context.database.transaction() as tx:
        await packs.record(tx, "packs/old", 1, context.now() - 2 * sweeper.PACKS_KEPT)
        await packs.record(tx, "packs/new", 1, context.now())
    await sweeper.keep_house(context)
    assert not await context.objects.exists("packs/old")
    assert await context.objects.exists("packs/new")
    async with context.database.transaction() as tx:
        assert await packs.size(tx, "packs/old") is None
