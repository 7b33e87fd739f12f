"""What tests of traffic share: a free port, a program that says which one it is, and a network of a robot and another machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import psutil

from lekiwi_deploy.testing.machine_network import in_namespace

ROBOT, ROBOT6 = "10.9.0.1", "fd09::1"
OTHER, OTHER6 = "10.9.0.2", "fd09::2"
_numbers = count(1)


def free_port() -> int:
    """One that nobody listens on, on any address."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as found:
        port: int = found.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def program(name: str, *addresses: str, port: int = 0) -> AsyncIterator[int]:
    """A service: greets with its name and the caller's address, then echoes until the caller has said everything. Gives its port."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        with contextlib.suppress(ConnectionError):
            writer.write(f"{name} {writer.get_extra_info('peername')[0]}\n".encode())
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    servers: list[asyncio.Server] = []
    try:
        for address in addresses or ("127.0.0.1",):
            servers.append(await asyncio.start_server(serve, address, port, backlog=1000))
            port = servers[0].sockets[0].getsockname()[1]
        yield port
    finally:
        for server in servers:
            server.close()
        if serving:
            await asyncio.wait(serving, timeout=5)


class Caller:
    """A connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: str) -> None:
        self.reader = reader
        self.writer = writer
        self.name, _, self.seen_as = greeting.partition(" ")

    async def echo(self, data: bytes) -> bool:
        """Whether what was said came back."""
        self.writer.write(data)
        return await self.reader.readexactly(len(data)) == data

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def call(port: int, address: str = "127.0.0.1", *, from_: Path | None = None) -> Caller:
    """Connect and be greeted. `from_`: the network namespace that the call comes from. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with in_namespace(from_) if from_ is not None else contextlib.nullcontext():
        connection = socket.socket(family)
    connection.setblocking(False)
    try:
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(connection, (address, port))
            reader, writer = await asyncio.open_connection(sock=connection)
            greeting = await reader.readline()
    except BaseException:
        connection.close()
        raise
    if not greeting:
        writer.close()
        raise ConnectionResetError("closed without a word")
    return Caller(reader, writer, greeting.decode().strip())


async def who(port: int, address: str = "127.0.0.1", *, from_: Path | None = None) -> str:
    """The name of the service that answers, or `nobody`."""
    try:
        caller = await call(port, address, from_=from_)
    except OSError:
        return "nobody"
    await caller.close()
    return caller.name


async def until(what: str, ask: Callable[[], object]) -> None:
    """Wait until `ask()` counts as true."""
    try:
        async with asyncio.timeout(10):
            while not ask():  # noqa: ASYNC110  the kernel tells nobody
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 10 s: {what}") from None


def ended(pid: int) -> bool:
    """Whether the process is no more (one that nobody has buried yet is)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Wire:
    """A robot and another machine, each in a network namespace of its own, with a cable between them."""

    def __init__(self) -> None:
        number = f"lkt{os.getpid()}-{next(_numbers)}"
        self._names = (f"{number}-robot", f"{number}-other")
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        robot, other = self._names
        _ip("link", "add", "eth0", "netns", robot, "type", "veth", "peer", "name", "eth0", "netns", other)
        for name, addresses in ((robot, (ROBOT, ROBOT6)), (other, (OTHER, OTHER6))):
            _ip("-n", name, "addr", "add", f"{addresses[0]}/24", "dev", "eth0")
            _ip("-n", name, "addr", "add", f"{addresses[1]}/64", "dev", "eth0", "nodad")
            _ip("-n", name, "link", "set", "eth0", "up")
        self.robot, self.other = (Path("/run/netns") / name for name in self._names)

    def close(self) -> None:
        """Take it down."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def on_robot() -> Iterator[Wire]:
    """A `Wire`; the calling thread is on its robot."""
    wire = Wire()
    try:
        with in_namespace(wire.robot):
            yield wire
    finally:
        wire.close()


def nft(*arguments: str) -> str:
    """What nft says, in the network where the thread is."""
    done = subprocess.run(["nft", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
