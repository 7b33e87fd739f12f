"""The root half's socket against what no net half of ours does: garbage, too much, too fast, nothing at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lekiwi_deploy.agent.net import peer as peer_module
from lekiwi_deploy.agent.net.frames import framed, read_frame
from lekiwi_deploy.agent.net.network import LinkLost, NetHalfGone
from lekiwi_deploy.agent.net.root_side import NetHalf
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.halves import (
    MAX_FRAME,
    PIECE,
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
    ToNet,
    Up,
)

TO_NET = msgspec.msgpack.Decoder(ToNet)


class FakeNet:
    """A net half that does what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *messages: object) -> None:
        for message in messages:
            self.writer.write(message if isinstance(message, bytes) else framed(message))
        await self.writer.drain()

    async def heard(self, kind: type) -> Any:
        """The next message of that kind."""
        async with asyncio.timeout(5):
            while not isinstance(message := await read_frame(self.reader, TO_NET), kind):
                assert message is not None, f"hung up before {kind.__name__}"
            return message

    async def cut_off(self) -> None:
        """Wait until the root half hangs up."""
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionResetError:
                pass
        self.writer.close()


class World:
    """A root half's socket, and what was said of the link."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.paths.run.mkdir(parents=True)
        self.said: list[tuple[str, bool]] = []
        self._news = asyncio.Event()
        self.half = NetHalf(self.paths, os.getuid(), said=self._heard)

    def _heard(self, link: str, trouble: bool) -> None:
        self.said.append((link, trouble))
        self._news.set()

    async def connect(self) -> FakeNet:
        folder = os.open(self.paths.run, os.O_RDONLY)
        try:
            return FakeNet(*await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/net.sock"))
        finally:
            os.close(folder)

    async def greet(self) -> FakeNet:
        net = await self.connect()
        await net.say(Here("0.0.test"))
        await net.heard(Ping)
        return net

    async def told(self, text: str, *, trouble: bool = True) -> None:
        """Wait until that was said."""
        async with asyncio.timeout(10):
            while not any(text in link and trouble is fault for link, fault in self.said):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.half.open()
    yield world
    await world.half.close()


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bytes"),
        (b"\xff\xff\xff\xff", "4294967295 bytes"),
        ((MAX_FRAME + 1).to_bytes(4, "big"), f"{MAX_FRAME + 1} bytes"),
        (b"\x00\x00\x00\x03\xc1\xc1\xc1", "no message"),
        (b"\x00\x00\x00\x00", "no message"),
        (b"\x00\x00\x00\x0a" + b"\x91" * 10, "no message"),
        (framed({"t": "shutdown"}), "no message"),
        (framed({"t": "heard", "link": -1, "text": ""}), "no message"),
        (framed({"t": "heard", "link": "1", "text": ""}), "no message"),
        (framed({"t": "piece", "fetch": 1, "data": b"x" * (PIECE + 1)}), "no message"),
        (framed({"t": "answered", "fetch": 1, "status": 99, "length": 1}), "no message"),
        (framed(Heard(1, "{}")), "nobody asked for"),
        (framed(Up(7)), "nobody asked for"),
        (framed(Piece(1, b"x")), "nobody asked for"),
        (framed(Here("again")), "twice"),
    ],
)
async def test_what_is_no_message_ends_the_connection(world: World, sent: bytes, why: str) -> None:
    net = await world.greet()
    await net.say(sent)
    await net.cut_off()
    await world.told(why)
    again = await world.greet()  # after a penalty, but it may
    again.writer.close()


async def test_who_does_not_say_who_it_is_first_is_cut_off(world: World) -> None:
    net = await world.connect()
    await net.say(Pong(1))
    await net.cut_off()
    await world.told("did not say who it is")


async def test_who_floods_is_cut_off(world: World) -> None:
    net = await world.greet()
    with pytest.raises(OSError):
        for _ in range(100):
            await net.say(framed(Pong(1)) * 1000)
    await world.told("messages a second")


async def test_who_answers_no_question_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "PING_S", 0.1)
    net = await world.greet()
    await net.cut_off()
    await world.told("the network half does not answer", trouble=False)


async def test_who_does_not_read_is_cut_off(world: World) -> None:
    net = await world.greet()
    opening = asyncio.create_task(_opened(world))
    number = (await net.heard(Open)).link
    net.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await net.say(Up(number))
    link = await opening
    with pytest.raises(NetHalfGone):
        async with asyncio.timeout(10):
            while True:
                await net.say(Sent(number))
                await link.send("x" * 1_000_000)
    net.writer.close()


async def test_who_confirms_what_was_not_said_is_cut_off(world: World) -> None:
    net = await world.greet()
    opening = asyncio.create_task(_opened(world))
    number = (await net.heard(Open)).link
    await net.say(Up(number), Sent(number))
    await opening
    await net.cut_off()
    await world.told("confirmed")


async def test_another_user_is_not_let_in(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.half._uid = os.getuid() + 1
    world.half._paths.net_socket.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("only root can give the socket to another user")
    await world.half.open()
    assert world.paths.net_socket.stat().st_uid == os.getuid() + 1
    assert world.paths.net_socket.stat().st_mode & 0o777 == 0o600
    net = await world.connect()
    await net.cut_off()
    await world.told("wanted to be the network half")
    await world.half.close()


async def test_a_second_net_half_takes_the_place_of_the_first(world: World) -> None:
    first = await world.greet()
    second = await world.greet()
    await first.cut_off()
    opening = asyncio.create_task(_opened(world))
    number = (await second.heard(Open)).link
    await second.say(Up(number))
    assert (await opening).number == number
    second.writer.close()


async def test_what_is_said_of_an_older_link_is_void(world: World) -> None:
    net = await world.greet()
    opening = asyncio.create_task(_opened(world))
    first = (await net.heard(Open)).link
    await net.say(Down(first, "no route"))
    with pytest.raises(LinkLost, match="no route"):
        await opening
    opening = asyncio.create_task(_opened(world))
    second = (await net.heard(Open)).link
    await net.say(Heard(first, "old"), Up(second), Heard(second, "new"))
    link = await opening
    assert await link.recv() == "new"
    await link.send("hello")
    assert (await net.heard(Say)).text == "hello"
    net.writer.close()


async def test_a_download_comes_no_faster_than_it_is_read(world: World) -> None:
    net = await world.greet()
    asking = asyncio.create_task(asyncio.to_thread(_ask, world, 10 * WINDOW))
    number = (await net.heard(Fetch)).fetch
    await net.say(Answered(number, 200, None))
    answer = await asking
    await net.say(*[Piece(number, b"x" * PIECE)] * (WINDOW // PIECE))
    reading = asyncio.create_task(asyncio.to_thread(lambda: b"".join(answer.pieces())))
    more = await net.heard(More)
    assert more.bytes <= WINDOW
    await net.say(Piece(number, b"y"), Done(number))
    assert (await reading).endswith(b"xy")
    net.writer.close()


@pytest.mark.parametrize("limit", [10 * WINDOW, 100])
async def test_who_sends_more_of_a_download_than_it_may_is_cut_off(world: World, limit: int) -> None:
    net = await world.greet()
    asking = asyncio.create_task(asyncio.to_thread(_ask, world, limit))
    number = (await net.heard(Fetch)).fetch
    await net.say(Answered(number, 200, None))
    answer = await asking
    await net.say(*[Piece(number, b"x" * PIECE)] * (1 if limit == 100 else WINDOW // PIECE + 1))
    await world.told("more of a download than it may")
    with pytest.raises(NetHalfGone):
        await asyncio.to_thread(lambda: list(answer.pieces()))
    net.writer.close()


async def test_a_download_that_is_not_wanted_is_cancelled(world: World) -> None:
    net = await world.greet()
    asking = asyncio.create_task(asyncio.to_thread(_ask, world, WINDOW))
    number = (await net.heard(Fetch)).fetch
    await net.say(Answered(number, 200, 500), Piece(number, b"x"))
    answer = await asking
    await asyncio.to_thread(answer.close)
    assert (await net.heard(Cancel)).fetch == number
    await net.say(Piece(number, b"y"), Done(number))  # on its way already: no fault
    asking = asyncio.create_task(asyncio.to_thread(_ask, world, WINDOW))
    number = (await net.heard(Fetch)).fetch
    await net.say(Done(number, "the server is not there"))
    with pytest.raises(Unavailable, match="not there"):
        await asking
    net.writer.close()


async def test_a_net_half_that_dies_ends_its_downloads_and_its_link(world: World) -> None:
    net = await world.greet()
    opening = asyncio.create_task(_opened(world))
    asking = asyncio.create_task(asyncio.to_thread(_ask, world, WINDOW))
    await net.say(Up((await net.heard(Open)).link))
    link = await opening
    net.writer.close()
    with pytest.raises(NetHalfGone):
        await link.recv()
    with pytest.raises(NetHalfGone):
        await asking
    with pytest.raises(NetHalfGone):
        await asyncio.to_thread(_ask, world, WINDOW)
    with pytest.raises(NetHalfGone):
        await _opened(world)


async def _opened(world: World) -> Any:
    await world.half.ready() if world.half._peer else None
    context = world.half.link(ping_s=20.0)
    return await context.__aenter__()


def _ask(world: World, limit: int) -> Any:
    return world.half.content.ask("/content/x", ticket="t", limit=limit)
