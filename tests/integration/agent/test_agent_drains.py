"""What becomes of connections to a version that traffic has left."""

from __future__ import annotations

import os
import socket

import pytest
from agent_robot import AgentRobot, eventually, free_port
from agent_server import AgentServer, web

from lekiwi_deploy.agent.cutting import cut
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import TcpCheck

ECHO = """
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(TEXT + line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def release(server: AgentServer, port: int, text: str, *, drain_s: float) -> DeploymentRef:
    service = web(port=port, content=text, health=(TcpCheck(interval_s=0.2),), drain_s=drain_s)
    return server.release({"web.py": ECHO.replace("TEXT", repr(text.encode()))}, [service])


def talk(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def said(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line + b"\n")
    return connection.makefile("rb").readline().strip()


def test_a_connection_stays_with_its_version_until_it_ends(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first, second = (release(server, port, text, drain_s=60.0) for text in ("one ", "two "))
    server.want(first)
    server.healthy(first, good=True)
    with talk(port) as old:
        assert said(old, b"a") == b"one a"
        server.want(second)
        server.healthy(second, good=True)
        with talk(port) as new:
            assert (said(new, b"b"), said(old, b"c")) == (b"two b", b"one c")
        assert len(robot.awake()) == 2
    eventually("it is paused once nobody is connected", lambda: len(robot.awake()) == 1)
    assert len(robot.processes()) == 2


def test_when_its_time_is_over_it_is_cut_and_the_version_kept_warm(server: AgentServer, robot: AgentRobot) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may cut connections of others; otherwise the version is stopped")
    port = free_port()
    robot.start()
    first, second = (release(server, port, text, drain_s=0.5) for text in ("one ", "two "))
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    with talk(port) as old:
        assert said(old, b"a") == b"one a"
        server.want(second)
        server.healthy(second, good=True)
        with pytest.raises(ConnectionError):
            while True:
                if not old.recv(1):
                    raise ConnectionError
    eventually("it is paused", lambda: len(robot.awake()) == 1)
    server.want(first)
    assert server.healthy(first).services[0].pid == pid
    with talk(port) as again:
        assert said(again, b"d") == b"one d"


def test_cutting_ends_connections_to_one_port_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may cut connections of others")
    ends = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
        listening = socket.create_server((host, 0), family=family)
        client = socket.create_connection(listening.getsockname()[:2], timeout=10)
        ends.append((listening, client, listening.accept()[0]))
    for listening, _, _ in ends[:2]:
        assert cut(listening.getsockname()[1])
    for _, client, _ in ends[:2]:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    _, client, peer = ends[2]
    peer.sendall(b"x")
    assert client.recv(1) == b"x"
    for parts in ends:
        for part in parts:
            part.close()
