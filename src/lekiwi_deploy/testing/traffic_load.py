"""Load on a service, which notices every request that fails and every connection that is cut: keep-alive and fresh connections over
HTTP, and WebSockets that stay."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

_REQUEST = b"GET / HTTP/1.1\r\nHost: robot\r\n\r\n"
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: robot\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_FRAME = bytes([0x81, 0x84, 0, 0, 0, 0]) + b"ping"
_ECHO = bytes([0x81, 4]) + b"ping"
_ANSWER_S = 10.0


@dataclass
class Tally:
    """What came of it. `answers` by version; `failed`: each with its reason; `latencies` in seconds, of requests on connections that
    were there; `open`: WebSockets now, by version; `cut`: (version, monotonic time) of each WebSocket that the service ended; `leads`:
    how long each lead took, in seconds."""

    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    fresh: int = 0
    websockets: int = 0
    echoes: int = 0
    open: Counter[str] = field(default_factory=Counter)
    cut: list[tuple[str, float]] = field(default_factory=list)
    leads: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """That were answered."""
        return sum(self.answers.values())


async def latencies(address: tuple[str, int], *, connections: int, seconds: float) -> list[float]:
    """Sorted, in seconds, of requests that are asked one after the other on each of so many connections."""
    tally, over = Tally(), asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await load([address], tally, over, alive=connections, anew=0, sockets=0, life_s=seconds + 1)
    assert not tally.failed, tally.failed
    return sorted(tally.latencies)


class Line(asyncio.Protocol):
    """One connection, on which one question at a time is asked."""

    def __init__(self) -> None:
        self._heard = b""
        self._waits: asyncio.Future[bytes] | None = None
        self._end: Callable[[bytes], int] = _end_of_answer
        self._ended = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        end = self._end(self._heard)
        if end and self._waits is not None and not self._waits.done():
            answer, self._heard = self._heard[:end], self._heard[end:]
            self._waits.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()
        if self._waits is not None and not self._waits.done():
            self._waits.set_exception(ConnectionError(f"cut: {exc or 'closed'}"))

    async def ask(self, question: bytes, end: Callable[[bytes], int]) -> bytes:
        """The answer, which `end` tells the length of. Raises `OSError` (also as `ConnectionError`, `TimeoutError`)."""
        assert self._transport is not None
        if self._ended.is_set():
            raise ConnectionError("cut: closed before the question")
        self._end = end
        self._waits = asyncio.get_running_loop().create_future()
        self._transport.write(question)
        async with asyncio.timeout(_ANSWER_S):
            return await self._waits

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()

    @classmethod
    async def to(cls, address: tuple[str, int]) -> Line:
        """Connect. Raises `OSError`."""
        async with asyncio.timeout(_ANSWER_S):
            _, line = await asyncio.get_running_loop().create_connection(cls, *address)
        return line


def _end_of_answer(heard: bytes) -> int:
    head = heard.find(b"\r\n\r\n")
    if head < 0:
        return 0
    length = int(heard[heard.index(b"Content-Length: ") + 16 : head].partition(b"\r\n")[0])
    return head + 4 + length if len(heard) >= head + 4 + length else 0


def _version(answer: bytes) -> str:
    assert answer.startswith(b"HTTP/1.1 200 "), answer[:80]
    return answer.rpartition(b"\r\n\r\n")[2].decode()


async def keep_alive(address: tuple[str, int], tally: Tally, over: asyncio.Event, life_s: float) -> None:
    """Requests one after the other on a connection that is used for `life_s`, then on another, as clients with a pool do."""
    while not over.is_set():
        try:
            line = await Line.to(address)
            until = time.perf_counter() + life_s
            while not over.is_set() and (began := time.perf_counter()) < until:
                tally.answers[_version(await line.ask(_REQUEST, _end_of_answer))] += 1
                tally.latencies.append(time.perf_counter() - began)
            line.close()
        except OSError as error:
            tally.failed.append(f"keep-alive: {error or type(error).__name__}")


async def fresh(address: tuple[str, int], tally: Tally, over: asyncio.Event, every_s: float) -> None:
    """A connection for each request."""
    while not over.is_set():
        try:
            line = await Line.to(address)
            tally.answers[_version(await line.ask(_REQUEST, _end_of_answer))] += 1
            tally.fresh += 1
            line.close()
        except OSError as error:
            tally.failed.append(f"fresh: {error or type(error).__name__}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await over.wait()


async def websocket(address: tuple[str, int], tally: Tally, over: asyncio.Event, every_s: float) -> None:
    """One that stays until the service ends it, and says something now and then; then another."""
    while not over.is_set():
        try:
            line = await Line.to(address)
            head = await line.ask(_UPGRADE, lambda heard: heard.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in heard else 0)
        except OSError as error:
            tally.failed.append(f"websocket: {error or type(error).__name__}")
            continue
        version = head.partition(b"X-Version: ")[2].partition(b"\r\n")[0].decode()
        tally.websockets += 1
        tally.open[version] += 1
        try:
            while not over.is_set():
                echo = await line.ask(_FRAME, lambda heard: len(_ECHO) if len(heard) >= len(_ECHO) else 0)
                if echo != _ECHO:
                    raise ConnectionError("ended by the service")
                tally.echoes += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await over.wait()
        except OSError:
            tally.cut.append((version, time.monotonic()))
        tally.open[version] -= 1
        line.close()


async def load(
    addresses: Iterable[tuple[str, int]],
    tally: Tally,
    over: asyncio.Event,
    *,
    alive: int,
    anew: int,
    sockets: int,
    life_s: float = 0.5,
) -> None:
    """All of them at each address, until `over`: so many keep-alive connections (each used for `life_s`), clients that connect anew each
    time, WebSockets."""
    async with asyncio.TaskGroup() as group:
        for address in addresses:
            for _ in range(alive):
                group.create_task(keep_alive(address, tally, over, life_s))
            for _ in range(anew):
                group.create_task(fresh(address, tally, over, every_s=0.01))
            for _ in range(sockets):
                group.create_task(websocket(address, tally, over, every_s=0.1))
