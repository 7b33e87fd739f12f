"""A server with robots of their own systemd, adopted over SSH, that run examples/lekiwi-robot and a WebSocket service beside it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adopting_world import packages_for
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_relay import Relay
from lekiwi_deploy.testing.machine_ssh import known_hosts, let_in, make_key
from lekiwi_deploy.testing.person import Person, Ran
from lekiwi_deploy.testing.server import LocalServer
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import Deployments, Robot, Robots
from lekiwi_deploy.wire.why import RobotEvents

EXAMPLE = Path(__file__).parents[2] / "examples/lekiwi-robot"
PROJECT = "kiwi"
WEB, TALK = 8000, 8100
TALK_SERVICE = """\
  talk:
    run: [python, talk.py]
    port: 8100
    drain: 10m
    files: [talk.py]
    health: [{tcp: true, interval: 200ms}]
"""
TALK_CODE = '''\
"""Answers every WebSocket message with what it says and the deployment that runs. Standard library only."""
import base64, hashlib, os, socketserver

GREETING = "hello"
DEPLOYMENT = os.environ["LEKIWI_DEPLOYMENT"]

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        key = b""
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b":")
            if name.lower() == b"sec-websocket-key":
                key = value.strip()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
        while (head := self.rfile.read(2)) and len(head) == 2 and head[0] & 15 != 8:
            mask = self.rfile.read(4)
            data = bytes(one ^ mask[at % 4] for at, one in enumerate(self.rfile.read(head[1] & 127)))
            if head[0] & 15 == 9:
                self.wfile.write(bytes([0x8A, len(data)]) + data)
                continue
            said = f"{GREETING} {data.decode()} from {DEPLOYMENT}".encode()
            self.wfile.write(bytes([0x81, len(said)]) + said)

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

Server(("", int(os.environ["PORT"])), Handler).serve_forever()
'''


class FleetOfMachines:
    """Made by `fleet_of_machines`. `code` is a checkout of the example that is linked to the project."""

    def __init__(self, folder: Path, lan: Lan, machines: Sequence[Machine], ends: ExitStack) -> None:
        self.lan = lan
        self.machines = machines
        self.folder = folder
        self.relay = Relay(lan)
        ends.callback(self.relay.close)
        # The server is on this machine, where builds reach a package index; robots reach it through the relay, and nothing else.
        self.server = LocalServer(folder / "server", port=_free_port(), options=("--url", self.relay.url))
        ends.callback(self.server.end)
        packages = packages_for("3.11")
        shutil.copytree(packages, folder / "server/cache/agent" / packages.name)
        self.key = make_key(folder / "keys")
        self.start_server()
        self.anna = Person(folder / "anna", self.relay.url, self.server.owner_token(), lan=lan)
        files = {
            path.relative_to(EXAMPLE).as_posix(): path.read_text()
            for path in EXAMPLE.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        files["lekiwi.yaml"] = files["lekiwi.yaml"].replace("services:\n", f"services:\n{TALK_SERVICE}", 1)
        files["talk.py"] = TALK_CODE
        self.code = self.anna.repository(folder / "code", files)
        self.lekiwi("link", PROJECT).ok()

    def start_server(self) -> None:
        """Start it (again)."""
        self.server.start()
        self.relay.target = self.server.port

    def lekiwi(self, *arguments: str, within_s: float = 180.0) -> Ran:
        """`lekiwi ARGUMENTS`, by Anna in her checkout."""
        return self.code.lekiwi(*arguments, "--insecure-http", within_s=within_s)

    def adopt(self) -> None:
        """All machines, over SSH, with one command."""
        for machine in self.machines:
            let_in(machine, key=self.key)
        known = self.folder / "known_hosts"
        known.write_text("".join(map(known_hosts, self.machines)))
        targets = [f"pi@{machine.address}" for machine in self.machines]
        ssh = (
            "-o",
            f"UserKnownHostsFile={known}",
            "-o",
            "StrictHostKeyChecking=yes",
            "--identity",
            str(self.key.private),
        )
        self.lekiwi("robots", "adopt", *targets, "-p", PROJECT, "--group", "production", *ssh, "--yes").ok()

    def release(self, greeting: str) -> str:
        """Change the page and the greeting, push, and wait until all robots run it; the deployment's id."""
        page = self.code.folder / "kiwi/web/page.py"
        self.code.write(
            {
                "talk.py": TALK_CODE.replace('"hello"', repr(greeting)),
                "kiwi/web/page.py": page.read_text().replace("HEADING = ", f"# {greeting}\nHEADING = "),
            }
        )
        self.push(greeting)
        deployment = self.newest()
        self.all_run(deployment)
        return deployment

    def skip_tests(self) -> None:
        """From the next push on: the example's own tests were run once, and take seconds."""
        lines = (self.code.folder / "lekiwi.yaml").read_text().splitlines()
        self.code.write({"lekiwi.yaml": "\n".join(line for line in lines if not line.startswith("test:")) + "\n"})

    def push(self, message: str) -> None:
        """Commit what is there, and push it."""
        self.code.commit(message)
        self.code.push(PROJECT).ok()

    def newest(self) -> str:
        """The deployment that was made last."""
        listed: Deployments = self.lekiwi("list", "--json").ok().json(Deployments)
        return listed.deployments[0].id

    def seen(self) -> dict[str, Robot]:
        """`lekiwi robots list`, by name."""
        listed: Robots = self.lekiwi("robots", "list", "-p", PROJECT, "--json").ok().json(Robots)
        return {str(robot.name): robot for robot in listed.robots}

    def all_run(self, deployment: str, *, within_s: float = 60.0) -> None:
        """Every robot serves out of it, and the server knows that they are healthy."""
        for machine in self.machines:
            eventually(
                f"{machine.name} serves {deployment}",
                lambda machine=machine: self.says(machine) == deployment and self.page(machine),
                within_s=within_s,
            )

        def known() -> bool:
            running = [robot.running for robot in self.seen().values()]
            return all(what is not None and what.deployment == deployment and what.healthy for what in running)

        eventually(f"the server knows that all run {deployment}", known, within_s=within_s)

    def says(self, machine: Machine) -> str:
        """The deployment that a new WebSocket leads to; "" while none does."""
        try:
            with self.talk_to(machine) as talk:
                talk.send("who")
                return str(talk.recv(5)).rpartition(" ")[2]
        except (OSError, WebSocketException):
            return ""

    def page(self, machine: Machine) -> str:
        """The robot's page, as somebody on its network sees it; "" while there is none."""
        try:
            with self.dial(machine, WEB) as talk:
                talk.sendall(b"GET / HTTP/1.1\r\nHost: robot\r\nConnection: close\r\n\r\n")
                data = b""
                while piece := talk.recv(1 << 16):
                    data += piece
        except OSError:
            return ""
        return data.decode(errors="replace") if b" 200 " in data[:20] else ""

    def talk_to(self, machine: Machine) -> ClientConnection:
        """A WebSocket to its talk service."""
        return connect(f"ws://{machine.address}:{TALK}/", sock=self.dial(machine, TALK), compression=None)

    def dial(self, machine: Machine, port: int) -> socket.socket:
        """A connection from the network's server side."""
        with self.lan.entered():
            return socket.create_connection((machine.address, port), timeout=5)

    def events(self, machine: Machine) -> list[Any]:
        """What the server was told of it, oldest first."""
        found: RobotEvents = (
            self.lekiwi("robots", "events", machine.name, "--limit", "200", "--json").ok().json(RobotEvents)
        )
        return list(reversed(found.events))

    def journal(self, machine: Machine) -> dict[str, Any]:
        """The robot's own memory."""
        found: dict[str, Any] = json.loads(machine.path("/var/lib/lekiwi-agent/journal.json").read_bytes())
        return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def fleet_of_machines(
    image: MachineImage, names: Sequence[str], *, disk: tuple[str, int] | None
) -> Iterator[FleetOfMachines]:
    """Machines of these names, each on a disk of its own whose power can be cut, booted and adopted."""
    with ExitStack() as ends:
        # not pytest's folder: PostgreSQL runs as another user, who may not pass through that
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="lekiwi-machines-")))
        folder.chmod(0o711)
        lan = Lan()
        ends.callback(lan.close)
        machines = []
        for name in names:
            machines.append(machine := Machine(name, lan=lan, image=image, disk=disk))
            ends.callback(machine.close)
            machine.boot(wait=False)
        fleet = FleetOfMachines(folder, lan, machines, ends)
        for machine in machines:
            machine.wait_booted()
        fleet.adopt()
        yield fleet
