"""Downloads as the root half has them: pieces that the net half sends, no more of them than are read."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator

from lekiwi_deploy.agent.net.network import NetHalfGone
from lekiwi_deploy.errors import LekiwiError, Unavailable
from lekiwi_deploy.wire.halves import WINDOW, Answered, Cancel, Done, Fetch, More, Piece

_PATIENCE_S = 70.0
"""For the next sign of a download; the net half gives the server 60."""


class Download:
    """One download, between the event loop (which takes frames) and the thread that reads it. Is its own `network.Answer`."""

    def __init__(
        self,
        asked: Fetch,
        send: Callable[[object], None],
        forget: Callable[[int], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.asked = asked
        self._forget = forget
        self.status = 0
        self.length: int | None = None
        self._send = send
        self._loop = loop
        self._arrived: queue.SimpleQueue[Answered | bytes | Done | LekiwiError] = queue.SimpleQueue()
        self._answered = False
        self._ended = False
        self._window = WINDOW  # of the loop: bytes that may still come
        self._left = asked.limit
        self._read = 0  # of the thread: bytes read and not made up for

    def take(self, message: Answered | Piece | Done) -> str | None:
        """On the loop: what the net half says about it; why it may not say so, if it may not."""
        if self._ended:
            return "it goes on with a download that it ended"
        match message:
            case Answered():
                if self._answered:
                    return "it answered twice"
                self._answered = True
                self._arrived.put(message)
            case Piece(data=data):
                self._window -= len(data)
                self._left -= len(data)
                if not self._answered or self._window < 0 or self._left < 0:
                    return "it sends more of a download than it may"
                self._arrived.put(data)
            case Done():
                self._ended = True
                self._arrived.put(message)
                self._forget(self.asked.fetch)
        return None

    def end(self, why: LekiwiError) -> None:
        """On the loop: nothing more will come."""
        self._ended = True
        self._arrived.put(why)

    def begin(self) -> None:
        """In the thread: wait for the answer's head. Raises `Unavailable`."""
        head = self._next()
        if not isinstance(head, Answered):
            raise Unavailable("the network half sent a body without an answer")
        self.status, self.length = head.status, head.length

    def pieces(self) -> Iterator[bytes]:
        """See `network.Answer`."""
        while (piece := self._next()) is not None:
            assert isinstance(piece, bytes)
            yield piece
            self._read += len(piece)
            if self._read >= WINDOW // 2:
                self._loop.call_soon_threadsafe(self._allow, self._read)
                self._read = 0

    def close(self) -> None:
        """See `network.Answer`."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _allow(self, count: int) -> None:
        if not self._ended:
            self._window += count
            self._send(More(self.asked.fetch, count))

    def _cancel(self) -> None:
        if not self._ended:
            self._ended = True
            self._forget(self.asked.fetch)
            self._send(Cancel(self.asked.fetch))

    def _next(self) -> Answered | bytes | None:
        try:
            arrived = self._arrived.get(timeout=_PATIENCE_S)
        except queue.Empty:
            raise NetHalfGone("the network half does not go on with a download") from None
        if isinstance(arrived, LekiwiError):
            raise arrived
        if isinstance(arrived, Done):
            if arrived.trouble is not None:
                raise Unavailable(arrived.trouble)
            return None
        return arrived


class RelayedContent:
    """`network.Content` over whichever net half is there. `start` registers a download with it and sends the request, on the loop."""

    def __init__(self, start: Callable[..., Download], loop: asyncio.AbstractEventLoop) -> None:
        self._start = start
        self._loop = loop

    def ask(self, path: str, *, ticket: str | None, limit: int, start: int = 0, post: bytes | None = None) -> Download:
        """See `network.Content`."""

        async def begin() -> Download:
            return self._start(path=path, ticket=ticket, start=start, limit=limit, post=post)

        download = asyncio.run_coroutine_threadsafe(begin(), self._loop).result()
        try:
            download.begin()
        except BaseException:
            download.close()
            raise
        return download
