"""Transactions on a real PostgreSQL: rows into structs, hints after the commit, errors with a meaning."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from lekiwi_deploy.errors import BadInput, Unavailable
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.store.database import Database, jsonb
from lekiwi_deploy.wire.api import Freeze

pytestmark = pytest.mark.engine


class Row(msgspec.Struct, frozen=True):
    name: str
    at: datetime
    detail: Freeze | None
    raw: bytes


async def test_a_row_becomes_a_struct_with_nested_json_and_aware_times(database: Database) -> None:
    freeze = Freeze(by="anna", at=datetime(2026, 1, 2, tzinfo=UTC), why="fair")
    async with database.transaction() as tx:
        row = await tx.one(
            "SELECT 'x' AS name, now() AS at, %s AS detail, '\\x00ff'::bytea AS raw, 5 AS unknown",
            (jsonb(freeze),),
            Row,
        )
        assert await tx.rows("SELECT generate_series(1, 3)", None, int) == [1, 2, 3]
        assert await tx.row("SELECT 1 WHERE false", None, int) is None
    assert row.detail == freeze
    assert row.raw == b"\x00\xff"
    assert row.at.utcoffset() is not None


async def test_a_transaction_that_raises_leaves_nothing_and_hints_nobody(database: Database, nudges: Nudges) -> None:
    heard: list[str | None] = []
    nudges.call("refs", heard.append)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO projects (name, created_by) VALUES ('web', 'anna')")
            await tx.notify("refs", "web")
            raise ZeroDivisionError
    async with database.transaction() as tx:
        assert await tx.rows("SELECT name FROM projects", None, str) == []
        await tx.notify("refs", "arm")
        assert heard == []
    assert heard == ["arm"]


async def test_other_replicas_hear_hints_and_the_sender_does_not_hear_its_own_twice(
    database: Database, database_url: str
) -> None:
    other = Database(database_url, replica="rep_other")
    heard = other.listen()
    own = database.listen()
    assert await anext(heard) is None
    assert await anext(own) is None
    async with database.transaction() as tx:
        await tx.notify("rollout", "rol_1")
    assert await asyncio.wait_for(anext(heard), 5) == ("rollout", "rol_1")
    await other.open()
    async with other.transaction() as tx:
        await tx.notify("rollout", "rol_2")
    assert await asyncio.wait_for(anext(own), 5) == ("rollout", "rol_2")
    await heard.aclose()  # type: ignore[attr-defined]
    await own.aclose()  # type: ignore[attr-defined]
    await other.close()


async def test_what_postgresql_cannot_hold_is_the_givers_mistake(database: Database) -> None:
    with pytest.raises(BadInput):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO projects (name, created_by) VALUES (%s, 'anna')", ("a\0b",))
    with pytest.raises(BadInput):
        async with database.transaction() as tx:
            await tx.execute(
                "INSERT INTO audit (actor, action, target, detail) VALUES ('a','b','c',%s)", (jsonb({"x": "\0"}),)
            )


async def test_an_unreachable_database_and_a_wrong_password_are_one_clear_line(database_url: str) -> None:
    for url in ("postgresql://nobody:x@127.0.0.1:1/none", database_url.replace("lekiwi:", "lekiwi:wrong")):
        with pytest.raises(Unavailable) as told:
            await Database(url).open()
        assert "\n" not in told.value.message
