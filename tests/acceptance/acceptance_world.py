"""Worlds for the tests: a server, and per test a project of its own with robots and a checkout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import Person, Ran, Repository
from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import Deployment, DeploymentDetail, Deployments, Robot, Robots

WEB_PORT = 8000


YAML = """\
test: {run: "sh test.sh", timeout: 20s}
services:
  web:
    run: [python, web.py]
    port: 8000
    files: [web.py, greeting.txt]
    health: [{http: /health, interval: 200ms, timeout: 1s, retries: 3}]
  clock:
    run: [python, clock.py]
    files: [clock.py]
    health: [{process: true}]
"""

WEB = """\
import os, pathlib, signal, socketserver
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
greeting = pathlib.Path("greeting.txt").read_text()
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1]
        while self.rfile.readline().strip():
            pass
        ok = path != b"/health" or "unhealthy" not in greeting
        body = f"{greeting} {os.environ['LEKIWI_DEPLOYMENT']} {os.getpid()}".encode()
        head = b"HTTP/1.1 %s\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n"
        self.wfile.write(head % (b"200 OK" if ok else b"500 Sick", len(body)) + body)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
print("greeting is", greeting, flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever(3600)
"""

CLOCK = """\
import os, signal, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print("tick", os.environ["LEKIWI_ROBOT"], flush=True)
while not stop.wait(1):
    pass
print("tock", flush=True)
"""


def app(greeting: str, **more: str) -> dict[str, str]:
    """A small project: a web service that answers with `greeting` (unhealthy when it says so), and a clock beside it."""
    files = {
        "lekiwi.yaml": YAML,
        "web.py": WEB,
        "clock.py": CLOCK,
        "greeting.txt": greeting,
        "test.sh": "echo 3 passed\n",
    }
    return files | more


@dataclass
class World:
    """One project on a server, as Anna sees it."""

    fleet: LocalFleet
    project: str
    anna: Person
    code: Repository
    robots: list[LocalRobot] = field(default_factory=list)

    def add_robot(self, *, start: bool = True, group: str = "production") -> LocalRobot:
        """One more robot, joined."""
        robot = self.fleet.robot(
            f"{self.project}-{len(self.robots) + 1}", port_offset=self.fleet.ports.take() - WEB_PORT
        )
        robot.add_and_join(self.anna, self.project, group=group)
        self.robots.append(robot)
        if start:
            robot.start()
        return robot

    def all_online(self) -> None:
        """Wait until the server sees every robot."""
        eventually("all robots are online", lambda: all(robot.online for robot in self.seen().values()))

    def lekiwi(self, *arguments: str, within_s: float = 60.0) -> Ran:
        """`lekiwi ARGUMENTS` in the checkout, which is linked to the project."""
        return self.code.lekiwi(*arguments, within_s=within_s)

    def push(self, ref: str = "main", *options: str) -> Ran:
        """`git push`"""
        return self.code.push(self.project, ref, *options)

    def release(self, greeting: str, **more: str) -> Deployment:
        """Commit that greeting, push it, and see that every robot serves it."""
        self.code.commit(f"Say {greeting}", app(greeting, **more))
        self.push().ok()
        for robot in self.robots:
            robot.serves(greeting, port=WEB_PORT)
        return self.newest()

    def list(self) -> Deployments:
        """`lekiwi list`"""
        listed: Deployments = self.lekiwi("list", "--json").ok().json(Deployments)
        return listed

    def newest(self) -> Deployment:
        """The deployment that was made last."""
        return self.list().deployments[0]

    def active(self) -> Deployment:
        """The one that is live."""
        return next(deployment for deployment in self.list().deployments if deployment.active)

    def inspect(self, deployment: str) -> DeploymentDetail:
        """`lekiwi inspect`"""
        detail: DeploymentDetail = self.lekiwi("inspect", deployment, "--json").ok().json(DeploymentDetail)
        return detail

    def seen(self) -> dict[str, Robot]:
        """`lekiwi robots list`, by name."""
        listed: Robots = self.lekiwi("robots", "list", "--json").ok().json(Robots)
        return {robot.name: robot for robot in listed.robots}

    def all_run(self, deployment: Deployment, greeting: str) -> None:
        """Wait until every robot serves `greeting` out of that deployment, and the server knows."""
        for robot in self.robots:
            robot.serves(f"{greeting} {deployment.id}", port=WEB_PORT)
            assert robot.current() == deployment.id

        def known() -> bool:
            running = [robot.running for robot in self.seen().values()]
            return all(what and what.deployment == deployment.id and what.healthy for what in running)

        eventually(f"the server knows that all run {deployment.id}", known)

    def pid_of(self, robot: LocalRobot) -> str:
        """The process that answers for the web service."""
        return robot.get(WEB_PORT).rpartition(" ")[2]


def make_world(fleet: LocalFleet, project: str, *, robots: int) -> World:
    """A linked checkout and so many robots that are online."""
    anna = fleet.person(f"anna-{project}")
    code = anna.repository(fleet.folder / "code" / project, app("nothing yet"))
    code.lekiwi("link", project).ok()
    world = World(fleet, project, anna, code)
    for _ in range(robots):
        world.add_robot()
    if robots:
        world.all_online()
    return world


def end_robots(world: World) -> None:
    """End them, and leave the server as it is."""
    for robot in world.robots:
        robot.end()
        world.fleet.robots.remove(robot)


def names() -> Iterator[str]:
    """Project names that were not used yet."""
    return (f"arm{number}" for number in itertools.count(1))
