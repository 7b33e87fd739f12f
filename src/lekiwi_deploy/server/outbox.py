"""What is on its way to one robot. Bounded by what it is: one desired state, one acknowledgement per stream, a few tickets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import ManifestDigest
from lekiwi_deploy.wire.link import Ack, Desired, FromServer, Stream, Ticket

SEND_S = 30.0
"""A robot that takes nothing for so long has lost its link."""
_TICKETS = 16


class Outbox:
    """Messages that wait to be sent; newer ones replace older ones of the same meaning."""

    def __init__(self) -> None:
        self._first: deque[FromServer] = deque()
        self._desired: Desired | None = None
        self._acks: dict[Stream, Ack] = {}
        self._tickets: dict[ManifestDigest, Ticket] = {}
        self._close: int | None = None
        self._filled = asyncio.Event()

    def put(self, message: FromServer) -> None:
        """Adds a message; nothing is added after `close`."""
        if self._close is not None:
            return
        match message:
            case Ack(stream, _):
                self._acks[stream] = message
            case Desired():
                self._desired = message
            case Ticket():
                if len(self._tickets) < _TICKETS:
                    self._tickets[message.digest] = message
            case _:
                self._first.append(message)
        self._filled.set()

    def close(self, code: int) -> None:
        """Closes the socket with `code` after what was put in before."""
        if self._close is None:
            self._close = code
            self._filled.set()

    async def send_all(self, send: Callable[[Any], Awaitable[None]]) -> None:
        """Sends by `send` (an ASGI socket's) until `close` was called. Raises `TimeoutError` when the other side takes nothing."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while (message := self._next()) is not None:
                async with asyncio.timeout(SEND_S):
                    await send({"type": "websocket.send", "text": encode(message).decode()})
            if self._close is not None:
                async with asyncio.timeout(SEND_S):
                    await send({"type": "websocket.close", "code": self._close, "reason": ""})
                return

    def _next(self) -> FromServer | None:
        if self._first:
            return self._first.popleft()
        if self._desired is not None:
            message, self._desired = self._desired, None
            return message
        if self._acks:
            return self._acks.pop(next(iter(self._acks)))
        if self._tickets:
            return self._tickets.pop(next(iter(self._tickets)))
        return None
