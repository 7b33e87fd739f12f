"""The net half: what the root half asks for, done with the network. It keeps nothing and decides nothing; without a root half it waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

import msgspec

from lekiwi_deploy import __version__
from lekiwi_deploy.agent.net.frames import BadFrame, framed, read_frame
from lekiwi_deploy.agent.net.network import Connection, Network
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.halves import (
    FETCHES,
    SAYING,
    WINDOW,
    Answered,
    Cancel,
    Done,
    Down,
    Fetch,
    Heard,
    Here,
    More,
    Open,
    Piece,
    Ping,
    Pong,
    Say,
    Sent,
    Shut,
    Sign,
    Signed,
    ToNet,
    Up,
)

_DECODER: msgspec.msgpack.Decoder[ToNet] = msgspec.msgpack.Decoder(ToNet)


async def relay(paths: Paths, network: Network) -> None:
    """Serve the root half that listens at `paths.net_socket` until it hangs up. Raises `OSError` when there is none, `BadFrame` when it
    is not understood (it may be of another release: it will be restarted with this one)."""
    folder = os.open(paths.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{paths.net_socket.name}")
    finally:
        os.close(folder)
    relay = _Relay(writer, network)
    try:
        await relay.send(Here(__version__))
        while (message := await read_frame(reader, _DECODER)) is not None:
            await relay.take(message)
    finally:
        await relay.end()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Relay:
    def __init__(self, writer: asyncio.StreamWriter, network: Network) -> None:
        self._writer = writer
        self._network = network
        self._turn = asyncio.Lock()
        self._link: _Link | None = None
        self._fetches: dict[int, _Fetch] = {}
        self._loop = asyncio.get_running_loop()

    async def send(self, message: object) -> None:
        self._writer.write(framed(message))
        async with self._turn:
            await self._writer.drain()

    async def take(self, message: ToNet) -> None:
        link = self._link
        match message:
            case Ping(number):
                await self.send(Pong(number))
            case Open(number, ping_s):
                await self._shut()
                self._link = _Link(number, min(300.0, max(0.1, ping_s)), self)
            case Shut(number):
                if link is not None and link.number == number:
                    await self._shut()
            case Say(number, text):
                if link is not None and link.number == number:
                    link.say(text)
            case Sign(number):
                if link is not None and link.number == number:
                    await self.send(await link.signed(message))
            case Fetch():
                self._fetch(message)
            case More(number, count):
                if number in self._fetches:
                    self._fetches[number].allow(count)
            case Cancel(number):
                if number in self._fetches:
                    self._fetches[number].cancel()

    async def end(self) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()
        await self._shut()

    async def _shut(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.shut()

    def _fetch(self, asked: Fetch) -> None:
        fetch = _Fetch(asked, self)
        if len(self._fetches) >= 2 * FETCHES:  # those that were cancelled may take a while to end
            raise BadFrame("more downloads at once than there may be")
        self._fetches[asked.fetch] = fetch
        self._loop.run_in_executor(None, fetch.run).add_done_callback(lambda _: self._fetches.pop(asked.fetch, None))

    @property
    def network(self) -> Network:
        return self._network

    def post(self, message: object) -> None:
        """From a thread: send it, and wait while the root half takes nothing."""
        asyncio.run_coroutine_threadsafe(self.send(message), self._loop).result()


class _Link:
    """The link to the server, from when the root half asked for it."""

    def __init__(self, number: int, ping_s: float, relay: _Relay) -> None:
        self.number = number
        self._relay = relay
        self._connection: Connection | None = None
        self._said: asyncio.Queue[str] = asyncio.Queue(SAYING)
        self._task = asyncio.create_task(self._run(ping_s))

    def say(self, text: str) -> None:
        """Raises `BadFrame` when the root half says more than it may."""
        try:
            self._said.put_nowait(text)
        except asyncio.QueueFull:
            raise BadFrame("more was said at once than may be") from None

    async def signed(self, sign: Sign) -> Signed:
        if self._connection is None:
            return Signed(self.number, None, "the link is not open")
        try:
            return Signed(self.number, await self._connection.token(sign.server, sign.nonce, sign.boot))
        except LekiwiError as error:
            return Signed(self.number, None, error.message[:2000])

    async def shut(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self, ping_s: float) -> None:
        try:
            async with self._relay.network.link(ping_s=ping_s) as connection:
                self._connection = connection
                await self._relay.send(Up(self.number))
                speaking = asyncio.create_task(self._speak(connection))
                try:
                    while True:
                        await self._relay.send(Heard(self.number, await connection.recv()))
                finally:
                    speaking.cancel()
        except LekiwiError as error:
            await self._relay.send(Down(self.number, error.message[:2000]))
        except OSError:
            pass  # of the root half's socket: its reader finds out
        finally:
            self._connection = None

    async def _speak(self, connection: Connection) -> None:
        with contextlib.suppress(LekiwiError, OSError):  # `recv` says what is wrong
            while True:
                await connection.send(await self._said.get())
                await self._relay.send(Sent(self.number))


class _Cancelled(Exception):
    pass


class _Fetch:
    """A download in a thread."""

    def __init__(self, asked: Fetch, relay: _Relay) -> None:
        self._asked = asked
        self._relay = relay
        self._window = WINDOW
        self._more = threading.Condition()
        self._cancelled = False

    def allow(self, count: int) -> None:
        with self._more:
            self._window += count
            self._more.notify()

    def cancel(self) -> None:
        with self._more:
            self._cancelled = True
            self._more.notify()

    def run(self) -> None:
        asked, post = self._asked, self._relay.post
        with contextlib.suppress(_Cancelled, OSError):
            try:
                if not asked.path.startswith("/"):
                    raise BadFrame("a download of something that is no path")
                answer = self._relay.network.content.ask(
                    asked.path, ticket=asked.ticket, limit=asked.limit, start=asked.start, post=asked.post
                )
                try:
                    post(Answered(asked.fetch, answer.status, answer.length))
                    for chunk in answer.pieces():
                        self._take(len(chunk))
                        post(Piece(asked.fetch, chunk))
                finally:
                    answer.close()
                post(Done(asked.fetch))
            except LekiwiError as error:
                post(Done(asked.fetch, error.message[:2000]))

    def _take(self, count: int) -> None:
        """Wait until so many bytes may be sent."""
        with self._more:
            while self._window < count:
                if self._cancelled:
                    raise _Cancelled
                self._more.wait()
            if self._cancelled:
                raise _Cancelled
            self._window -= count
