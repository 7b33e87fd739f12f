"""A real agent brings connections to real services: through switches, its own death, the relay's death, and its end."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.testing import traffic_service
from lekiwi_deploy.testing.traffic_load import Tally, load
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1),)
SERVICE = Path(traffic_service.__file__).read_text()


def release(server: AgentServer, port: int, number: int, code: str = SERVICE) -> DeploymentRef:
    """A version of the service on the public `port`."""
    service = web(port=port, content=str(number), health=QUICKLY, drain_s=2.0)
    return server.release({"web.py": code}, [service], version=f"v{number}")


def go(server: AgentServer, port: int, number: int, code: str = SERVICE) -> DeploymentRef:
    """Deploy it, and wait until it is good."""
    ref = release(server, port, number, code)
    server.want(ref)
    server.healthy(ref, good=True)
    return ref


def relay(robot: AgentRobot) -> psutil.Process | None:
    """The relay's process, if it runs."""
    path = str(robot.root / "run/lekiwi/relay.sock")
    for process in psutil.process_iter():
        try:
            if path in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            continue
    return None


@pytest.fixture(autouse=True)
def _no_relay_is_left(robot: AgentRobot) -> Iterator[None]:
    yield
    left = relay(robot)
    if left is not None:
        left.kill()


@contextmanager
def under_load(port: int) -> Iterator[Tally]:
    """All kinds of connections to the port, meanwhile."""
    tally, ready = Tally(), threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        over = asyncio.Event()
        ends.append((asyncio.get_running_loop(), over))
        ready.set()
        await load([("127.0.0.1", port)], tally, over, alive=3, anew=2, sockets=4, life_s=0.1)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(10)
    try:
        yield tally
    finally:
        (loop, over), *_ = ends
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


def test_no_request_fails_while_versions_come_and_go(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first = go(server, port, 1)
    with under_load(port) as tally:
        asked = {}
        for number in (2, 3):
            eventually("all WebSockets stand", lambda number=number: tally.websockets >= 4 * (number - 1))
            asked[f"v{number - 1}"] = time.monotonic()
            go(server, port, number)
        asked["v3"] = time.monotonic()
        server.want(first)
        server.healthy(first)
        eventually("the first one serves again", lambda before=tally.answers["v1"]: tally.answers["v1"] > before)
    assert tally.failed == []
    assert set(tally.answers) == {"v1", "v2", "v3"}
    assert all(at >= asked[version] + 2.0 for version, at in tally.cut), "each had its two seconds to end by itself"


def test_the_service_listens_elsewhere_and_is_reached_at_its_port(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    go(server, port, 1, web_code("one"))
    found = relay(robot)
    assert found is not None and body(port) == "one"
    assert {conn.laddr.port for conn in found.net_connections("tcp") if conn.status == "LISTEN"} == {port}
    assert (
        robot.status()["traffic"] == f"relay (the robot's folder is {robot.root}, so it may not be the only one here)"
    )
    assert "\ntraffic   relay" in robot.command("status").stdout


def test_connections_outlive_the_agent(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    go(server, port, 1)
    with under_load(port) as tally:
        eventually("it serves", lambda: tally.echoes > 10)
        robot.kill()
        before = tally.requests
        eventually("it serves without an agent", lambda: tally.requests > before + 100)
        robot.start()
        go(server, port, 2)
        eventually("the next agent leads", lambda: tally.answers["v2"])
    assert tally.failed == []


def test_a_relay_that_dies_is_replaced(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    go(server, port, 1, web_code("one"))
    found = relay(robot)
    assert found is not None
    found.kill()
    eventually("it is served again", lambda: body(port) == "one")
    assert relay(robot) != found
    go(server, port, 2, web_code("two"))
    assert body(port) == "two"


def test_an_agent_that_stops_leaves_no_port_behind(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    go(server, port, 1, web_code("one"))
    assert robot.stop() == 0
    assert relay(robot) is None
    with socket.create_server(("", port)):
        pass


def test_an_agent_that_leaves_its_services_leaves_their_ports(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start("--leave-services")
    go(server, port, 1, web_code("one"))
    assert robot.stop() == 0
    assert body(port) == "one" and relay(robot) is not None
    robot.start()
    go(server, port, 2, web_code("two"))
    assert body(port) == "two"
    assert robot.stop() == 0
    assert body(port) is None and relay(robot) is None


def test_a_port_that_another_program_has_fails_the_trial_by_name(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server.want(release(server, port, 1, web_code("one")))
        told = f"process {os.getpid()}) listens on port {port}"
        try:
            eventually("it is told", lambda: told in repr(server.events) + repr(server.reports[-1:]))
        finally:
            for e in server.events.values():
                print(e)
            print(server.reports[-1:])
