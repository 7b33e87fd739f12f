"""Transactions over the tables in memory, as `Stage.open` of the conductor takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from lekiwi_deploy.testing.simulation.memory.conducting import MemoryConducting
from lekiwi_deploy.testing.simulation.memory.tables import Tables, Writes

T = TypeVar("T")


class MemoryDatabase:
    """`on_hint(topic, id)` is called for each hint once its transaction stands; `written` before each write, `stands` after a transaction and
    before its hints: what these raise is what a crash there does."""

    def __init__(
        self,
        tables: Tables | None = None,
        *,
        on_hint: Callable[[str, str], None] = lambda topic, id: None,
        written: Callable[[], None] = lambda: None,
        stands: Callable[[], None] = lambda: None,
    ) -> None:
        self.tables = Tables() if tables is None else tables
        self._on_hint, self._written, self._stands = on_hint, written, stands
        self._busy = False

    @contextmanager
    def writing(self) -> Iterator[Writes]:
        """A transaction: what it wrote stands when the block ends well, and nothing of it when that raises."""
        assert not self._busy, "there is one transaction at a time here"
        self._busy = True
        writes = Writes(self.tables, written=self._written)
        try:
            yield writes
        except BaseException:
            writes.undo()
            raise
        finally:
            self._busy = False
        self._stands()
        for topic, id in writes.hints:
            self._on_hint(topic, id)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryConducting]:
        """The same, as a conductor uses it."""
        with self.writing() as writes:
            yield MemoryConducting(writes)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: nothing in memory ever does, so no event loop is needed."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("it waits for something outside of the simulation")
