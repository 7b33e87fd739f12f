"""The way to PostgreSQL: a pool of connections, transactions, rows straight into structs.

Only `server/store/` imports psycopg; everyone else passes a `Transaction` to functions of the store. What goes wrong between
us and the database becomes `Unavailable`; input that PostgreSQL cannot hold (a NUL in a text, a text too long for its
column) becomes `BadInput`; constraint violations (`psycopg.errors.UniqueViolation`, …) are the store's to catch.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lekiwi_deploy.errors import BadInput, Unavailable
from lekiwi_deploy.server.nudges import CHANNEL
from lekiwi_deploy.wire.encoding import encode

T = TypeVar("T")
Params = Sequence[Any] | dict[str, Any] | None

set_json_dumps(encode)
set_json_loads(msgspec.json.decode)


def jsonb(value: object) -> Jsonb:
    """`value` (a wire struct, or anything that msgspec encodes) as a parameter for a jsonb column."""
    return Jsonb(value)


class Transaction:
    """One transaction. Parameters are `%s` with a sequence or `%(name)s` with a dict; times are aware, in UTC.

    `kind` is a msgspec struct or dataclass (filled by column name; jsonb columns may be nested wire structs; columns that it does not
    have are ignored), or a plain type such as `str` for a query of one column.
    """

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection
        self._hints: dict[tuple[str, str], None] = {}

    async def execute(self, sql: str, params: Params = None) -> AsyncCursor[TupleRow]:
        """Runs one statement. The cursor's `rowcount` says how many rows it changed."""
        return await self._connection.execute(sql, params)

    async def execute_many(self, sql: str, params: Iterable[Sequence[Any]]) -> None:
        """Runs one statement for each of `params`, in few round trips."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(sql, params)

    async def rows(self, sql: str, params: Params, kind: type[T]) -> list[T]:
        """All rows of the result."""
        cursor = await self.execute(sql, params)
        return _convert(cursor, await cursor.fetchall(), kind)

    async def row(self, sql: str, params: Params, kind: type[T]) -> T | None:
        """The first row of the result, or None."""
        cursor = await self.execute(sql, params)
        first = await cursor.fetchone()
        return None if first is None else _convert(cursor, [first], kind)[0]

    async def one(self, sql: str, params: Params, kind: type[T]) -> T:
        """The first row of a result that always has one. Raises `LookupError` when it has none."""
        found = await self.row(sql, params, kind)
        if found is None:
            raise LookupError(f"no row: {sql}")
        return found

    async def copy(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """`COPY table (columns) FROM STDIN` with `rows`: the cheapest way to store many."""
        async with self._connection.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                await copy.write_row(row)

    async def notify(self, topic: str, id: str) -> None:
        """Hints to every replica, this one first, once this transaction is committed. See `nudges.py` for topics."""
        self._hints[topic, id] = None

    @property
    def hints(self) -> tuple[tuple[str, str], ...]:
        """What `notify` collected."""
        return tuple(self._hints)


def _convert(cursor: AsyncCursor[TupleRow], rows: list[TupleRow], kind: type[T]) -> list[T]:
    if hasattr(kind, "__struct_fields__") or dataclasses.is_dataclass(kind):
        names = [column.name for column in cursor.description or ()]
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows]
    return [msgspec.convert(row[0], kind) for row in rows]


class Database:
    """A pool of connections to one database. Use `async with Database.opened(...)`, or `open` and `close`."""

    def __init__(
        self, url: str, *, replica: str = "", on_hint: Callable[[str, str], None] | None = None, size: int = 8
    ) -> None:
        """`url`: a libpq connection string. `on_hint(topic, id)` is called for each hint of a transaction after its commit."""
        self.url = url
        self._replica = replica
        self._on_hint = on_hint
        self._checking: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            url,
            open=False,
            min_size=1,
            max_size=size,
            timeout=5.0,
            kwargs={"options": "-c timezone=UTC -c client_encoding=UTF8", "application_name": "lekiwi-server"},
        )

    async def open(self) -> None:
        """Connects. Raises `Unavailable` when that fails."""
        try:
            async with await AsyncConnection.connect(self.url, connect_timeout=10):
                pass
        except psycopg.OperationalError as error:
            raise Unavailable(f"the database cannot be used: {_one_line(error)}") from error
        await self._pool.open()

    async def close(self) -> None:
        """Gives the connections back; what runs is given 5 s to end."""
        if self._checking is not None:
            self._checking.cancel()
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises. Hints are sent with the commit.

        Raises `Unavailable` when the database cannot be reached or a serialization failure needs a new try.
        """
        try:
            async with self._pool.connection() as connection:
                transaction = Transaction(connection)
                yield transaction
                if transaction.hints:
                    payloads = [f"{topic} {id} {self._replica}" for topic, id in transaction.hints]
                    await connection.execute(
                        "SELECT pg_notify(%s, hint) FROM unnest(%s::text[]) AS hint", (CHANNEL, payloads)
                    )
        except (psycopg.OperationalError, PoolTimeout) as error:
            self._drop_broken()
            raise Unavailable(f"the database did not answer: {_one_line(error)}") from error
        except (psycopg.DataError, UnicodeEncodeError) as error:
            raise BadInput(f"this cannot be stored: {_one_line(error)}") from error
        if self._on_hint is not None:
            for topic, id in transaction.hints:
                self._on_hint(topic, id)

    def _drop_broken(self) -> None:
        """Looks through the idle connections, so that after a restart of the database one request fails and not one for each."""
        if not self._pool.closed and (self._checking is None or self._checking.done()):
            self._checking = asyncio.create_task(self._pool.check())

    async def listen(self) -> AsyncIterator[tuple[str, str] | None]:
        """Hints of other replicas as (topic, id); first None, once listening, so that the hearer reads everything once.

        Ends by raising `Unavailable` when the connection is lost.
        """
        try:
            connection = await AsyncConnection.connect(self.url, autocommit=True, application_name="lekiwi-listen")
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                yield None
                async for notice in connection.notifies():
                    topic, _, rest = notice.payload.partition(" ")
                    id, _, replica = rest.partition(" ")
                    if replica != self._replica or not replica:
                        yield topic, id
        except psycopg.OperationalError as error:
            raise Unavailable(f"the database's hints are lost: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
