"""What a connection through the relay is like: every byte, every end, both ways."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import resource
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest
from traffic_world import ROBOT, ROBOT6, Wire, call, free_port, program, until, who

from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.sock_diag import established

RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A service that the test plays itself."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.setblocking(False)
        yield service


async def connected(relay: RelayTraffic, service: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection through the relay: the caller's and the service's."""
    loop, public = asyncio.get_running_loop(), free_port()
    await relay.lead({public: service.getsockname()[1]})
    caller = socket.socket()
    caller.setblocking(False)
    await loop.sock_connect(caller, ("127.0.0.1", public))
    async with asyncio.timeout(5):
        callee, _ = await loop.sock_accept(service)
    callee.setblocking(False)
    return caller, callee


async def receive(sock: socket.socket) -> bytes:
    """Something, within 5 s."""
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)


async def test_an_end_is_passed_on_each_way_on_its_own(relay: RelayTraffic) -> None:
    loop = asyncio.get_running_loop()
    with listening() as service:
        caller, callee = await connected(relay, service)
        with caller, callee:
            await loop.sock_sendall(caller, b"question")
            caller.shutdown(socket.SHUT_WR)
            assert await receive(callee) == b"question" and await receive(callee) == b""
            await loop.sock_sendall(callee, b"answer, after the question has ended")
            assert await receive(caller) == b"answer, after the question has ended"
            callee.shutdown(socket.SHUT_WR)
            assert await receive(caller) == b""
        await until("the relay has let go", lambda: len(psutil.Process(relay.pid).net_connections("tcp")) <= 1)


async def test_the_service_may_end_first(relay: RelayTraffic) -> None:
    loop = asyncio.get_running_loop()
    with listening() as service:
        caller, callee = await connected(relay, service)
        with caller, callee:
            await loop.sock_sendall(callee, b"goodbye")
            callee.shutdown(socket.SHUT_WR)
            assert await receive(caller) == b"goodbye" and await receive(caller) == b""
            await loop.sock_sendall(caller, b"wait")
            assert await receive(callee) == b"wait"


@pytest.mark.parametrize("by_caller", [True, False])
async def test_a_reset_is_passed_on_as_a_reset(relay: RelayTraffic, by_caller: bool) -> None:
    with listening() as service:
        caller, callee = await connected(relay, service)
        breaks, sees = (caller, callee) if by_caller else (callee, caller)
        with sees:
            breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            breaks.close()
            with pytest.raises(ConnectionResetError):
                await receive(sees)


async def test_an_answer_before_a_reset_arrives(relay: RelayTraffic) -> None:
    """A web server that refuses a large upload answers and closes without reading on: the kernel sends the answer, then a reset."""
    loop = asyncio.get_running_loop()
    with listening() as service:
        caller, callee = await connected(relay, service)
        with caller:
            await loop.sock_sendall(caller, b"x" * 1000)
            await receive(callee)
            await loop.sock_sendall(caller, b"y" * 1000)
            await until("it arrived", lambda: select_readable(callee))
            await loop.sock_sendall(callee, b"413 too large")
            callee.close()  # with unread bytes: a reset
            assert await receive(caller) == b"413 too large"


def select_readable(sock: socket.socket) -> bool:
    """Whether something is there to be read."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


@pytest.mark.parametrize("upwards", [True, False])
async def test_forty_megabytes_arrive_as_they_were_sent(relay: RelayTraffic, upwards: bool) -> None:
    loop = asyncio.get_running_loop()
    block = os.urandom(1 << 20)
    with listening() as service:
        caller, callee = await connected(relay, service)
        sender, receiver = (caller, callee) if upwards else (callee, caller)
        with caller, callee:

            async def send() -> None:
                for _ in range(40):
                    await loop.sock_sendall(sender, block)
                sender.shutdown(socket.SHUT_WR)

            sending = asyncio.create_task(send())
            digest, size = hashlib.sha256(), 0
            while data := await receive(receiver):
                digest.update(data)
                size += len(data)
            await sending
    assert size == 40 << 20 and digest.digest() == hashlib.sha256(block * 40).digest()


async def test_a_service_that_does_not_read_holds_its_caller_back(relay: RelayTraffic) -> None:
    loop = asyncio.get_running_loop()
    with listening() as service:
        caller, callee = await connected(relay, service)
        with caller, callee:
            before = psutil.Process(relay.pid).memory_info().rss
            accepted, stalled = 0, 0
            while stalled < 20:
                try:
                    accepted += caller.send(bytes(1 << 16))
                    stalled = 0
                except BlockingIOError:
                    stalled += 1
                    await asyncio.sleep(0.01)
            assert psutil.Process(relay.pid).memory_info().rss - before < 2_000_000, "what waits is with the kernel"
            busy = sum(psutil.Process(relay.pid).cpu_times()[:2])
            await asyncio.sleep(0.5)
            assert sum(psutil.Process(relay.pid).cpu_times()[:2]) - busy < 0.1, "the relay sleeps meanwhile"
            caller.shutdown(socket.SHUT_WR)
            received = 0
            while data := await loop.sock_recv(callee, 1 << 20):
                received += len(data)
            assert received == accepted


async def test_a_caller_that_goes_while_the_service_does_not_read_is_let_go(relay: RelayTraffic) -> None:
    with listening() as service:
        caller, callee = await connected(relay, service)
        with callee:
            stalled = 0
            while stalled < 20:
                try:
                    caller.send(bytes(1 << 16))
                    stalled = 0
                except BlockingIOError:
                    stalled += 1
                    await asyncio.sleep(0.01)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            caller.close()
            busy = sum(psutil.Process(relay.pid).cpu_times()[:2])
            await asyncio.sleep(0.3)
            assert sum(psutil.Process(relay.pid).cpu_times()[:2]) - busy < 0.1
            with contextlib.suppress(ConnectionResetError):
                while await receive(callee):
                    pass
        await until("the relay has let go", lambda: len(psutil.Process(relay.pid).net_connections("tcp")) <= 1)


async def test_a_thousand_connections_at_once_and_none_left_over(relay: RelayTraffic) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        process = psutil.Process(relay.pid)
        idle = process.num_fds()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        callers = []
        for _ in range(10):
            callers += await asyncio.gather(*(call(public) for _ in range(100)))
        assert await relay.connections(private) == 1000
        assert all(await asyncio.gather(*(caller.echo(b"%d" % number) for number, caller in enumerate(callers))))
        await asyncio.gather(*(caller.close() for caller in callers))
        await until("all are closed", lambda: established(private) == 0 and process.num_fds() == idle)


async def test_without_descriptors_callers_wait_and_are_served_later(relay: RelayTraffic) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        assert relay.pid is not None
        process = psutil.Process(relay.pid)
        few = process.num_fds() + 6
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (few, few))
        first = [await call(public) for _ in range(3)]
        waiting = [asyncio.create_task(call(public)) for _ in range(3)]
        await asyncio.sleep(0.2)
        busy = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.3)
        assert sum(process.cpu_times()[:2]) - busy < 0.1, "it does not try in circles"
        assert all([await caller.echo(b"still served") for caller in first])
        assert not any(task.done() for task in waiting)
        for caller in first:
            await caller.close()
        for task in waiting:
            caller = await task
            assert await caller.echo(b"served at last")
            await caller.close()


@pytest.mark.root
async def test_a_service_that_listens_on_loopback_is_not_there_for_other_machines(
    relay: RelayTraffic, wire: Wire
) -> None:
    public = 8000
    async with program("open", "0.0.0.0") as everyone, program("own", "127.0.0.1") as own:
        await relay.lead({public: own})
        assert [await who(public, ROBOT, from_=wire.other), await who(public, ROBOT6, from_=wire.other)] == [
            "nobody"
        ] * 2
        assert await who(public) == "own"
        await relay.lead({public: everyone})
        assert [await who(public, ROBOT, from_=wire.other), await who(public, ROBOT6, from_=wire.other)] == ["open"] * 2
        await relay.lead({public: own})
        assert await who(public, ROBOT, from_=wire.other) == "nobody"
