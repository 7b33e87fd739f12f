"""A robot with systemd that was installed from a bundle, linked to a small server that can want another release of its agent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
from agent_releases import Bundle, agent_tests_folder

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.agent_proof import proof
from lekiwi_deploy.wire.link import AgentPhase, AgentState, AgentWanted

sys.path.insert(0, str(agent_tests_folder()))
from agent_server import ROBOT, AgentServer

KEY = b"k" * 32
PATH = "/agent/linux-x86_64-glibc2.36-py3.11/bundle"
ECHO = """
import os, socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
            self.wfile.flush()
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""
_TALK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as talk:
    lines = talk.makefile("rw")
    for word in sys.stdin:
        lines.write(word); lines.flush()
        sys.stdout.write(lines.readline()); sys.stdout.flush()
"""


class UpdatingRobot:
    """`machine` booted, the agent of `bundle` installed, joined, linked."""

    def __init__(self, machine: Machine, lan: Lan, bundle: Bundle) -> None:
        self.machine = machine
        self.bundle = bundle
        self.server = AgentServer(lan.address)
        self.server.update_key = KEY.hex()
        self._lan = lan
        self._attempt = 0
        self.start_server()
        machine.boot()
        machine.write("/srv/bundle.zip", bundle.data)
        line = ["python3", "-I", "/srv/bundle.zip", "--server", self.server.url, "--insecure-http", "--token", "-"]
        machine.run(*line, stdin=self.server.join_token, within_s=180)
        self.server.until(lambda: self.server.linked, "linked")

    def start_server(self) -> None:
        """Serve, in the network of the robot."""
        with self._lan.entered():
            self.server.start()

    def want(self, bundle: Bundle, *, again: bool = False, attempt: int | None = None) -> int:
        """Have the server want this release; the number of the attempt."""
        self._attempt = attempt if attempt is not None else self._attempt + 1
        self.server.files[PATH] = bundle.data
        wanted = AgentWanted(
            release=bundle.release,
            digest=bundle.digest,
            size=len(bundle.data),
            path=PATH,
            attempt=self._attempt,
            again=again,
        )
        wanted = msgspec.structs.replace(wanted, proof=proof(KEY, ROBOT, wanted))
        self.server.desired = msgspec.structs.replace(self.server.desired, agent=wanted)
        self.server.send(self.server.desired)
        return self._attempt

    @property
    def agent(self) -> AgentState | None:
        """What it last said of its agent."""
        return self.server.reports[-1].agent if self.server.reports else None

    def until_agent(self, release: str, phase: AgentPhase, within_s: float = 90.0) -> AgentState:
        """Wait until it says so over a standing link."""

        def there() -> AgentState | None:
            agent = self.agent
            fits = agent is not None and agent.release == release and agent.phase is phase and self.server.linked
            return agent if fits else None

        try:
            found: AgentState = self.server.until(there, f"agent {release} {phase.value}", within_s)
            return found
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def kinds(self) -> list[str]:
        """Of the events that it told, in order."""
        return [self.server.events[number].kind for number in sorted(self.server.events)]

    def texts(self, kind: str) -> list[str]:
        """Of the events of that kind."""
        events = [self.server.events[number] for number in sorted(self.server.events)]
        return [event.text for event in events if event.kind == kind]

    def current(self) -> str:
        """The release that `current` names."""
        return str(self.machine.path("/opt/lekiwi/agent/current").readlink())

    def releases(self) -> set[str]:
        """Those on its disk."""
        folder = self.machine.path("/opt/lekiwi/agent")
        return {path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink()}

    def status(self) -> dict[str, Any]:
        """`lekiwi-agent status` on it."""
        found: dict[str, Any] = json.loads(self.machine.run("lekiwi-agent", "status", "--json").stdout)
        return found

    def pids(self) -> dict[str, int | None]:
        """Of its services."""
        return {service["name"]: service["pid"] for service in self.status()["report"]["services"]}

    def story(self) -> str:
        """What it wrote, for a message."""
        return self.machine.journal("-o", "short-precise", "-n", "80", "-u", "lekiwi-agent*")


class Talk:
    """A connection to a service on the robot that stays open; what is said comes back."""

    def __init__(self, machine: Machine, port: int) -> None:
        self._process = subprocess.Popen(
            machine.command(["python3", "-u", "-c", _TALK, str(port)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self.says("hello") == "hello"

    def says(self, word: str) -> str:
        """What comes back over the same connection; "" when it was cut."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{word}\n")
        except BrokenPipeError:
            return ""
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """Close it."""
        self._process.kill()
        self._process.communicate()


def wait_for_service(robot: UpdatingRobot) -> None:
    """Until its service answers."""
    eventually("the service runs", lambda: any(robot.pids().values()), within_s=30)
