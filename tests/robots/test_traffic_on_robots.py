"""How connections reach services on a robot with systemd, from itself and from another machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

import pytest
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import PLACE, install_agent
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually

SERVICE = """
import socket, sys, threading
def serve(family, address):
    with socket.create_server((address, int(sys.argv[1])), family=family) as server:
        while True:
            connection, (caller, *_) = server.accept()
            connection.sendall(f"{sys.argv[2]} {caller}".encode())
            connection.close()
threading.Thread(target=serve, args=(socket.AF_INET6, "::1"), daemon=True).start()
serve(socket.AF_INET, "0.0.0.0")
"""
STEER = """
import asyncio, json, sys
from pathlib import Path
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.choose import choose
async def steer(verb, targets):
    traffic = await choose(Paths(Path("/")), lost=lambda: None, helpers=set())
    await traffic.open()
    found = dict(traffic.targets())
    if verb == "lead":
        await traffic.lead(targets)
    if verb == "remove":
        await traffic.remove()
    await traffic.close()
    print(json.dumps({"kind": traffic.kind, "why": traffic.why, "found": found}))
asyncio.run(steer(sys.argv[1], {int(k): v for k, v in json.loads(sys.argv[2]).items()}))
"""
FIREWALL = """
table inet mine {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto { 1, 58 } accept
        tcp dport { 22, 8000 } accept
    }
}
"""


@pytest.fixture
def robot(machines: Machines) -> Machine:
    """With an agent's program, and two versions of a service that say who calls."""
    machine = machines("kiwi")
    install_agent(machine, service=False)
    machine.write("/opt/service.py", SERVICE)
    machine.write("/opt/steer.py", STEER)
    machine.boot()
    machine.run("mkdir", "-p", "/run/lekiwi")
    for version, port in (("v1", 24001), ("v2", 24002)):
        machine.run("systemd-run", "-q", f"--unit={version}", "python3", "/opt/service.py", str(port), version)
        eventually(f"{version} listens", lambda port=port: f":{port} " in machine.run("ss", "-ltn").stdout)  # type: ignore[misc]
    return machine


def steer(robot: Machine, verb: str, targets: Mapping[int, int] | None = None) -> dict[str, object]:
    """What the agent's side of traffic does and says."""
    command = ("env", f"PYTHONPATH={PLACE}", "python3", "/opt/steer.py", verb, json.dumps(targets or {}))
    answer: dict[str, object] = json.loads(robot.run(*command).stdout)
    return answer


def call(robot: Machine, port: int, *, from_: Lan | None = None, address: str = "127.0.0.1") -> str:
    """What the service says to a caller on the robot, or on the server's side of the network."""
    if from_ is None:
        ask = f"import socket; print(socket.create_connection(({address!r}, {port}), 2).recv(99).decode())"
        done = robot.run("python3", "-c", ask, check=False)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    with from_.entered():
        try:
            with socket.create_connection((robot.address, port), 2) as connection:
                return connection.recv(99).decode()
        except OSError as error:
            return type(error).__name__


def test_a_robot_has_nftables_and_its_services_see_who_calls(robot: Machine, lan: Lan) -> None:
    assert steer(robot, "lead", {8000: 24001}) == {"kind": "nftables", "why": "", "found": {}}
    assert call(robot, 8000, from_=lan) == f"v1 {lan.address}"
    assert [call(robot, 8000, address=address) for address in ("127.0.0.1", "::1")] == ["v1 127.0.0.1", "v1 ::1"]
    assert call(robot, 24001, from_=lan) == "ConnectionRefusedError"
    assert steer(robot, "lead", {8000: 24002})["found"] == {"8000": 24001}
    assert call(robot, 8000, from_=lan) == f"v2 {lan.address}"
    steer(robot, "remove")
    assert call(robot, 8000, from_=lan) == "ConnectionRefusedError"
    assert robot.run("nft", "list", "ruleset").stdout == ""


def test_behind_a_firewall_the_relay_is_a_unit_of_its_own(robot: Machine, lan: Lan) -> None:
    robot.run("nft", "-f", "-", stdin=FIREWALL)
    before = robot.run("nft", "list", "ruleset").stdout
    seen = steer(robot, "lead", {8000: 24001})
    assert seen["kind"] == "relay" and "table inet mine, chain input" in str(seen["why"])
    assert call(robot, 8000, from_=lan) == "v1 127.0.0.1"
    assert call(robot, 24001, from_=lan) == "TimeoutError", "the firewall has the last word"
    pid = robot.run("systemctl", "show", "-P", "MainPID", "lekiwi-relay").stdout.strip()
    assert robot.run("ps", "-o", "user=", "-p", pid).stdout.strip() not in ("root", "0")
    robot.run("systemd-analyze", "security", "--threshold=20", "lekiwi-relay.service")  # in tenths

    assert steer(robot, "lead", {8000: 24002})["found"] == {"8000": 24001}
    assert call(robot, 8000, from_=lan) == "v2 127.0.0.1"
    assert robot.run("systemctl", "show", "-P", "MainPID", "lekiwi-relay").stdout.strip() == pid

    robot.run("kill", "-9", pid)
    eventually("it is gone", lambda: call(robot, 8000) != "v2 127.0.0.1")
    assert steer(robot, "lead", {8000: 24001})["found"] == {}
    assert call(robot, 8000, from_=lan) == "v1 127.0.0.1"

    steer(robot, "remove")
    assert call(robot, 8000) != "v1 127.0.0.1"
    assert "lekiwi-relay" not in robot.run("systemctl", "list-units", "--all", "lekiwi-*").stdout
    assert robot.run("nft", "list", "ruleset").stdout == before
    assert not robot.path("/run/lekiwi/relay.sock").exists()
