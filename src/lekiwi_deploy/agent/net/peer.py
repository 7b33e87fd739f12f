"""One connection from a net half, seen from the root half, which takes nothing on trust: every frame is decoded into a type, every size and
rate has a bound, and whoever breaks a rule is cut off."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from lekiwi_deploy.agent.net.frames import BadFrame, framed, read_frame
from lekiwi_deploy.agent.net.network import NetHalfGone
from lekiwi_deploy.agent.net.relayed_content import Download
from lekiwi_deploy.agent.net.relayed_link import RelayedLink
from lekiwi_deploy.wire.halves import (
    FETCHES,
    Answered,
    Done,
    Down,
    Fetch,
    FromNet,
    Heard,
    Here,
    Open,
    Piece,
    Ping,
    Pong,
    Sent,
    Shut,
    Signed,
    Up,
)

GREET_S = 5.0
PING_S = 10.0
"""Between questions whether it is still there; one that is not answered before the next is due ends the connection."""
_FRAMES_PER_S = 2000.0
_BURST = 8000.0
_UNREAD = 8 << 20
"""Bytes that may wait for a net half that does not read: a window of texts of the largest size."""
_DECODER: msgspec.msgpack.Decoder[FromNet] = msgspec.msgpack.Decoder(FromNet)


class Misbehaved(Exception):
    """It said what no net half of ours says."""


class Peer:
    """A net half. `serve` runs until it is gone; then `why` says what happened, and `misbehaved` whether it was cut off."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.agent = ""
        self.why = "the network half is not running"
        self.misbehaved = False
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._links = 0
        self._link: RelayedLink | None = None
        self._fetches = 0
        self._downloads: dict[int, Download] = {}
        self._pong = 0
        self._credit = _BURST
        self._credited = self._loop.time()

    async def greeted(self) -> None:
        """Wait for its first frame. Raises `Misbehaved`."""
        try:
            async with asyncio.timeout(GREET_S):
                first = await read_frame(self._reader, _DECODER)
        except TimeoutError:
            raise Misbehaved("it did not say who it is") from None
        except BadFrame as error:
            raise Misbehaved(error.message) from error
        if not isinstance(first, Here):
            raise Misbehaved("it did not say who it is first")
        self.agent = first.agent

    async def serve(self) -> None:
        """Take what it says until it is gone."""
        beating = asyncio.create_task(self._beat())
        try:
            while (message := await read_frame(self._reader, _DECODER)) is not None:
                await self._take(message)
        except (BadFrame, Misbehaved) as error:
            self.why = f"the network half was cut off: {error.message if isinstance(error, BadFrame) else error}"
            self.misbehaved = True
        except OSError:
            pass  # it died in the middle of a frame
        finally:
            beating.cancel()
            self.drop(self.why)

    def drop(self, why: str) -> None:
        """End the connection and all that depends on it."""
        self.why = why
        gone = NetHalfGone(why)
        if self._link is not None:
            self._link.end(gone)
        for download in list(self._downloads.values()):
            download.end(gone)
        self._downloads.clear()
        self._writer.transport.abort()

    def open_link(self, ping_s: float) -> RelayedLink:
        """Ask for the link; one that is open is closed."""
        self._links += 1
        self._link = RelayedLink(self._links, self._send)
        self._send(Open(self._links, ping_s))
        return self._link

    def shut_link(self, link: RelayedLink) -> None:
        """It is not wanted any more."""
        link.end(NetHalfGone("the link was closed"))
        if self._link is link:
            self._link = None
        self._send(Shut(link.number))

    def fetch(self, **what: Any) -> Download:
        """Ask for content (see `wire.halves.Fetch`). Raises `NetHalfGone` when it is busy with too much."""
        if len(self._downloads) >= FETCHES:
            raise NetHalfGone("the network half is busy with other downloads")
        self._fetches += 1
        asked = Fetch(fetch=self._fetches, **what)
        download = Download(asked, self._send, self._forget, self._loop)
        self._downloads[asked.fetch] = download
        self._send(asked)
        return download

    def _forget(self, fetch: int) -> None:
        self._downloads.pop(fetch, None)

    def _send(self, message: object) -> None:
        if self._writer.transport.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > _UNREAD:
            self.drop("the network half does not read what it is told")
            return
        self._writer.write(framed(message))

    async def _beat(self) -> None:
        number = 0
        while True:
            number += 1
            self._send(Ping(number))
            await asyncio.sleep(PING_S)
            if self._pong < number:
                self.drop("the network half does not answer")
                return

    async def _take(self, message: FromNet) -> None:
        if not isinstance(message, Piece):  # pieces have a window of their own
            self._count()
        match message:
            case Here():
                raise Misbehaved("it said twice who it is")
            case Pong(number):
                self._pong = max(self._pong, number)
            case Up(number) | Down(number) | Heard(number) | Sent(number) | Signed(number):
                if self._link is not None and number == self._link.number:
                    _check(await self._link.take(message))
                elif number > self._links:
                    raise Misbehaved("it speaks of a link that nobody asked for")
            case Answered(number) | Piece(number) | Done(number):
                download = self._downloads.get(number)
                if download is not None:
                    _check(download.take(message))
                elif number > self._fetches:
                    raise Misbehaved("it speaks of a download that nobody asked for")
                elif isinstance(message, Piece):
                    self._count()

    def _count(self) -> None:
        now = self._loop.time()
        self._credit = min(_BURST, self._credit + (now - self._credited) * _FRAMES_PER_S)
        self._credited = now
        if self._credit < 1:
            raise Misbehaved(f"more than {_FRAMES_PER_S:.0f} messages a second")
        self._credit -= 1


def _check(wrong: str | None) -> None:
    if wrong is not None:
        raise Misbehaved(wrong)
