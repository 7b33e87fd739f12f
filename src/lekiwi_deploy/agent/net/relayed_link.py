"""The link as the root half has it: texts that the net half carries to the server and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lekiwi_deploy.agent.net.network import LinkLost, NetHalfGone
from lekiwi_deploy.errors import Failed, LekiwiError
from lekiwi_deploy.wire.halves import SAYING, Down, Heard, Say, Sent, Sign, Signed, Up

_WAITING = 64
"""Texts of the server that wait to be looked at; then no more is read from the net half."""
_OPEN_S = 30.0
_SIGN_S = 10.0


class RelayedLink:
    """Link `number`. `send` hands a frame to the net half, and waits while it takes none."""

    def __init__(self, number: int, send: Callable[[object], None]) -> None:
        self.number = number
        self._send = send
        self._texts: deque[str] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._saying = asyncio.Semaphore(SAYING)
        self._said = 0
        self._open = False
        self._signed: Signed | None = None
        self._ended: LekiwiError | None = None

    async def opened(self) -> None:
        """Return once it is open. Raises `LinkLost`, `NetHalfGone`."""
        try:
            async with asyncio.timeout(_OPEN_S):
                await self._until(lambda: self._open)
        except TimeoutError:
            raise LinkLost("it does not answer") from None

    async def recv(self) -> str:
        """See `network.Connection`."""
        await self._until(lambda: bool(self._texts))
        self._room.set()
        return self._texts.popleft()

    async def send(self, text: str) -> None:
        """See `network.Connection`."""
        await self._saying.acquire()
        if self._ended is not None:
            raise self._ended
        self._said += 1
        self._send(Say(self.number, text))

    async def token(self, server: str, nonce: str, boot: str) -> str:
        """See `network.Connection`."""
        self._signed = None
        self._send(Sign(self.number, server, nonce, boot))
        try:
            async with asyncio.timeout(_SIGN_S):
                await self._until(lambda: self._signed is not None)
        except TimeoutError:
            raise NetHalfGone("the network half does not answer") from None
        assert self._signed is not None
        if self._signed.token is None:
            raise Failed(self._signed.trouble or "the network half cannot sign")
        return self._signed.token

    async def take(self, message: Up | Down | Heard | Sent | Signed) -> str | None:
        """What the net half says about this link; why it may not say so, if it may not."""
        match message:
            case Up():
                self._open = True
            case Down(why=why):
                self.end(LinkLost(why))
            case Heard(text=text):
                if not self._open:
                    return "it heard something on a link that is not open"
                while len(self._texts) >= _WAITING and self._ended is None:
                    self._room.clear()
                    await self._room.wait()
                self._texts.append(text)
            case Sent():
                if not self._said:
                    return "it confirmed what it was not given"
                self._said -= 1
                self._saying.release()
            case Signed():
                self._signed = message
        self._news.set()
        return None

    def end(self, why: LekiwiError) -> None:
        """It is no more; what was heard before can still be read."""
        if self._ended is None:
            self._ended = why
        self._news.set()
        self._room.set()
        for _ in range(SAYING):
            self._saying.release()

    async def _until(self, there: Callable[[], bool]) -> None:
        while not there():
            if self._ended is not None:
                raise self._ended
            self._news.clear()
            await self._news.wait()
