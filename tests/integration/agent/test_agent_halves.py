"""The agent as two real processes: one that has the rights and no network, one that has the network and no rights."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web
from halves_robot import HalvesRobot

COUNTER = """
import http.server, os, sys, threading, time
def count():
    number = 0
    while True:
        number += 1
        print(f"line {number}", flush=True)
        time.sleep(0.002)
threading.Thread(target=count, daemon=True).start()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"counting")
    def log_message(self, *arguments): pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def robot(server: AgentServer, tmp_path: Path) -> Iterator[HalvesRobot]:
    robot = HalvesRobot(tmp_path / "robot", server)
    robot.join()
    yield robot
    robot.end()


def test_two_halves_deploy_as_one(server: AgentServer, robot: HalvesRobot) -> None:
    robot.start()
    port = free_port()
    ref = server.release({"web.py": web_code("one"), "big.bin": os.urandom(5 << 20)}, [web(port=port)])
    server.want(ref)
    server.healthy(ref, good=True)
    assert body(port) == "one"
    assert robot.status()["linked"] is True
    bad = server.release({"web.py": "raise SystemExit(3)"}, [web(port=port, content="bad")])
    server.want(bad)
    server.outcome(bad, "rolled_back")
    assert body(port) == "one"
    assert robot.stop() == 0


def test_the_root_half_has_nothing_that_does_network(server: AgentServer, robot: HalvesRobot) -> None:
    robot.start()
    ref = server.release({"data": "1"}, [])
    server.want(ref)
    server.healthy(ref)
    assert robot.process is not None and robot.net is not None
    libraries = Path(f"/proc/{robot.process.pid}/maps").read_text()
    assert "libssl" not in libraries and "sodium" not in libraries and "_ssl" not in libraries
    assert "_ssl" in Path(f"/proc/{robot.net.pid}/maps").read_text()


def test_what_the_root_half_imports_is_free_of_network() -> None:
    script = """
import sys
from lekiwi_deploy.agent.net.without_network import FORBIDDEN, forbid
from lekiwi_deploy.agent import main
forbid()
import lekiwi_deploy.agent.run, lekiwi_deploy.agent.download, lekiwi_deploy.agent.self_update.units
loaded = [name for name in FORBIDDEN if sys.modules.get(name) is not None]
assert not loaded, loaded
try:
    import ssl
except ImportError:
    print("none")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("none\n", "")


def test_without_its_net_half_the_robot_runs_on_and_says_so(server: AgentServer, robot: HalvesRobot) -> None:
    robot.start()
    port = free_port()
    ref = server.release({"web.py": web_code("one")}, [web(port=port)])
    server.want(ref)
    server.healthy(ref, good=True)
    robot.kill_net()
    eventually("it says so", lambda: robot.status()["link"] == "the network half is not running")
    assert body(port) == "one"
    pid = robot.status()["report"]["services"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually("the service is back without a network", lambda: body(port) == "one")
    robot.start_net()
    eventually("linked again", lambda: robot.status()["linked"])


def test_a_net_half_that_hangs_is_replaced(server: AgentServer, robot: HalvesRobot) -> None:
    robot.start()
    server.until(lambda: server.linked, "linked")
    assert robot.net is not None
    hanging = robot.net
    hanging.send_signal(signal.SIGSTOP)
    try:
        robot.net = None
        links = len(server.hellos)
        robot.start_net()
        server.until(lambda: len(server.hellos) > links, "another one took its place")
        eventually("linked again", lambda: robot.status()["linked"])
    finally:
        hanging.kill()
        hanging.wait(10)


def test_nothing_is_lost_whichever_half_dies_when(server: AgentServer, robot: HalvesRobot) -> None:
    port = free_port()
    ref = server.release({"count.py": COUNTER}, [web("count", port=port, code="count.py")])
    robot.start()
    server.want(ref)
    server.healthy(ref)
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    for turn in range(8):
        before = len(server.texts("count"))
        server.until(lambda: len(server.texts("count")) >= before + chance.randrange(1, 60), f"lines come, turn {turn}")  # noqa: B023
        if chance.random() < 0.5:
            robot.kill_net()
            robot.start_net()
        else:
            robot.kill()
            robot.start_root()
        links = len(server.hellos)
        server.until(lambda: len(server.hellos) > links or server.linked, "linked")  # noqa: B023
    before = len(server.texts("count"))
    server.until(lambda: len(server.texts("count")) > before + 50, "lines still come")
    numbers = [int(text.removeprefix("line ")) for text in server.texts("count")]
    assert numbers == list(range(1, len(numbers) + 1)), f"seed {seed}"
    assert server.dropped == 0
    assert body(port) == "counting"


def test_a_half_that_dies_in_a_download_costs_time_only(server: AgentServer, robot: HalvesRobot) -> None:
    robot.start()
    ref = server.release({f"f{n}.bin": os.urandom(1_000_000) for n in range(4)}, [])
    server.faults.cut_after = [2_500_000, *([0] * 40)]
    server.want(ref)
    parts = robot.root / "var/lib/lekiwi-agent/downloads"
    eventually("some of it is kept", lambda: [part for part in parts.glob("*.part") if part.stat().st_size > 2_000_000])
    robot.kill_net()
    server.faults.cut_after = []
    robot.start_net()
    server.healthy(ref)
    assert any(request.startswith("resume at") for request in server.requests)


def test_a_missing_key_is_named(server: AgentServer, robot: HalvesRobot) -> None:
    key = robot.root / "etc/lekiwi/robot.key"
    kept = key.read_text()
    key.unlink()
    robot.start()
    eventually("it listens", (robot.root / "run/lekiwi/agent.sock").exists)
    eventually("it says what is wrong", lambda: "key is missing" in robot.status()["link"])
    key.write_text(kept)
    key.chmod(0o600)
    robot.kill()
    robot.start_root()
    server.until(lambda: server.linked, "linked")


def test_a_user_that_does_not_exist_is_named(robot: HalvesRobot) -> None:
    done = robot.command("run", "--halves", "--net-user", "nobody-of-that-name")
    assert done.returncode == 4
    assert "nobody-of-that-name" in done.stderr
    alone = robot.command("run", "--net-user", "root")
    assert alone.returncode == 2 and "--halves" in alone.stderr


@pytest.mark.parametrize("halves", [False, True])
def test_the_memory_of_each_process(server: AgentServer, tmp_path: Path, halves: bool) -> None:
    robot = (HalvesRobot if halves else AgentRobot)(tmp_path / "robot", server)
    robot.join()
    try:
        robot.start()
        ref = server.release({"data": "1"}, [])
        server.want(ref)
        server.healthy(ref, good=True)
        pids = [robot.process, robot.net] if isinstance(robot, HalvesRobot) else [robot.process]
        sizes = [_rss_mb(process.pid) for process in pids if process is not None]
        print("MB:", sizes)
        assert max(sizes) < 45
    finally:
        robot.end()


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000
