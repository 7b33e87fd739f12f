"""The steps of the demo. Each is checked on the robots themselves, not only on what the server says."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import msgspec

from lekiwi_deploy.testing.bare_start import bare_start_ms, how_started
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import Person, Ran, Repository, show
from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import Deployment, DeploymentDetail, Deployments, Robots, RobotStatus

PROJECT = "kiwi"
WEB_PORT = 8000
PAGE = Path("kiwi/web/page.py")
HEADING, NEW_HEADING = 'HEADING = "LeKiwi"', 'HEADING = "LeKiwi, hello again"'
_CONFIRMED = (RobotStatus.HEALTHY, RobotStatus.GOOD)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo measured. Deploys: `git push` started → last robot confirmed. Rollbacks: `lekiwi rollback` started →
    last robot confirmed on the other digest, its process ready. `second_deploy_bytes`: received by all robots together."""

    robots: int
    first_deploy_s: float
    second_deploy_s: float
    second_deploy_bytes: int
    rollback_p50_ms: float
    rollback_max_ms: float
    bare_start_ms: float


class Story:
    """15 robots, a push, a second one that changes one file, and rollbacks to and fro."""

    def __init__(self, fleet: LocalFleet, example: Path, *, robots: int) -> None:
        self._fleet = fleet
        self._example = example
        self._count = robots
        self._person: Person
        self._repository: Repository

    def tell(self, *, rollbacks: int) -> Figures:
        """From nothing to a fleet that runs the second push. Raises when a step does not hold."""
        self.start()
        show("\n$ git push lekiwi main")
        first, first_s = self.push(HEADING)
        bases = self.pids("base")
        self.change_page(HEADING, NEW_HEADING)
        show(f"\n(changed one line of {PAGE})\n$ git push lekiwi main")
        second, second_s = self.push(NEW_HEADING)
        assert self.pids("base") == bases, "the base was restarted although only the page changed"
        show("\n$ lekiwi rollback")
        back = self._person.run(self._person.at.lekiwi, "rollback", folder=self._repository.folder, live=True).ok()
        show(back.out.rstrip())
        self._confirmed(first.deployment.id, HEADING)
        times = [self.roll_back((second if turn % 2 == 0 else first).deployment) for turn in range(rollbacks)]
        if rollbacks % 2 == 0:
            self.roll_back(second.deployment)
        self._lekiwi("unfreeze").ok()
        self._confirmed(second.deployment.id, NEW_HEADING)
        show(f"\nStarting the same {self._count} web processes by hand, to compare …")
        bare = self.bare_start()
        assert second.rollout is not None
        outcomes = [robot.outcome for robot in second.rollout.robots if robot.outcome]
        return Figures(
            robots=self._count,
            first_deploy_s=round(first_s, 3),
            second_deploy_s=round(second_s, 3),
            second_deploy_bytes=sum(outcome.wire_bytes for outcome in outcomes),
            rollback_p50_ms=round(statistics.median(times), 1),
            rollback_max_ms=round(max(times), 1),
            bare_start_ms=round(bare, 1),
        )

    def bare_start(self) -> float:
        """Milliseconds that the robots' web processes take to start by hand, out of the slots, all at once."""
        web = [how_started(pid) for pid in self.pids("web").values()]
        return bare_start_ms(web, self._fleet.ports, path="/health")

    def what_next(self) -> str:
        """Commands to try while the fleet runs."""
        here, folder = self._person.at.bin, self._repository.folder
        return f"""
The fleet is running: {self._fleet.server.url}   In another terminal:

  export PATH={here}:$PATH LEKIWI_API={self._fleet.server.url} LEKIWI_TOKEN=$(cat {self._fleet.server.data}/owner-token)
  cd {folder}
  lekiwi list
  lekiwi status
  lekiwi logs --follow
  curl http://127.0.0.1:{WEB_PORT + self._fleet.robots[0].port_offset}/          # the page of {self._fleet.robots[0].name}
  lekiwi rollback
  lekiwi unfreeze
  $EDITOR {PAGE}; git commit -am "Mine"; git push lekiwi main

Ctrl-C stops everything.
"""

    def start(self) -> None:
        """Server, linked checkout and robots; all are online when it returns."""
        show(f"Starting the server and {self._count} robots below {self._fleet.folder} …")
        self._fleet.server.start()
        self._person = person = self._fleet.person()
        self._repository = self._make_repository(person)
        self._lekiwi("link", PROJECT).ok()
        ports = self._fleet.ports
        for number in range(1, self._count + 1):
            robot = self._fleet.robot(f"lekiwi-{number:03}", port_offset=ports.take() - WEB_PORT)
            robot.set_variables({"KIWI_COMMAND_PORT": str(ports.take()), "KIWI_OBSERVATION_PORT": str(ports.take())})
            robot.add_and_join(person, PROJECT)
            robot.start()
        eventually("all robots are online", self._all_online, within_s=60, every_s=0.2)
        show(f"{self._count} robots are online at {self._fleet.server.url}")

    def _make_repository(self, person: Person) -> Repository:
        folder = self._fleet.folder / "lekiwi-robot"
        shutil.copytree(self._example, folder, ignore=shutil.ignore_patterns("__pycache__", ".*_cache", ".venv"))
        repository = Repository(person, folder)
        repository.git("init", "-q").ok()
        repository.commit("Our LeKiwi")
        return repository

    def _lekiwi(self, *arguments: str) -> Ran:
        return self._repository.lekiwi(*arguments)

    def _all_online(self) -> bool:
        robots: Robots = self._lekiwi("robots", "list", "--json").ok().json(Robots)
        return sum(robot.online for robot in robots.robots) == self._count

    def change_page(self, old: str, new: str) -> None:
        """Commit the page of the web service with one line changed."""
        page = self._repository.folder / PAGE
        assert old in page.read_text(), f"{PAGE} has no line {old}"
        self._repository.commit("Another heading", {str(PAGE): page.read_text().replace(old, new)})

    def push(self, heading: str) -> tuple[DeploymentDetail, float]:
        """`git push`, shown live; what was deployed, and seconds from its start to the last robot's confirmation."""
        pushed = self._person.git(
            "push", "lekiwi", "main", folder=self._repository.folder, within_s=300, live=True
        ).ok()
        listed: Deployments = self._lekiwi("list", "--json").ok().json(Deployments)
        detail = self._confirmed(listed.deployments[0].id, heading)
        return detail, last_confirmed(detail) - pushed.began_at

    def roll_back(self, to: Deployment) -> float:
        """`lekiwi rollback --to=…`; milliseconds from its start to the last robot's confirmation."""
        ran = self._lekiwi("rollback", f"--to={to.id}").ok()
        ms = 1000 * (last_confirmed(self._confirmed(to.id)) - ran.began_at)
        show(f"$ lekiwi rollback --to={to.id}   {self._count} robots back in {ms:.0f} ms")
        return ms

    def _confirmed(self, deployment: str, heading: str | None = None) -> DeploymentDetail:
        detail: DeploymentDetail = self._lekiwi("inspect", deployment, "--json").ok().json(DeploymentDetail)
        assert detail.rollout is not None, f"{deployment} was never rolled out"
        not_there = [robot for robot in detail.rollout.robots if robot.status not in _CONFIRMED]
        assert not not_there, f"not confirmed: {', '.join(f'{robot.robot} {robot.status}' for robot in not_there)}"
        assert len(detail.rollout.robots) == self._count, f"only {len(detail.rollout.robots)} robots took part"
        for robot in self._fleet.robots:
            self._runs(robot, deployment, heading)
        return detail

    def _runs(self, robot: LocalRobot, deployment: str, heading: str | None) -> None:
        assert robot.current() == deployment, f"{robot.name} runs {robot.current()}, not {deployment}"
        if heading is not None:
            words = heading.partition('"')[2].rstrip('"')
            page = robot.get(WEB_PORT)
            assert f"<h1>{words} ·" in page, f"the page of {robot.name} does not say {words!r}: {page[:200]!r}"

    def pids(self, service: str) -> dict[str, int]:
        """The process of that service on each robot, as the server knows it."""
        robots: Robots = self._lekiwi("robots", "list", "--json").ok().json(Robots)
        found = {robot.name: part.pid for robot in robots.robots for part in robot.services if part.name == service}
        pids = {name: pid for name, pid in found.items() if pid is not None}
        assert len(pids) == self._count, f"{service} runs on {len(pids)} robots, not on {self._count}"
        return {str(name): pid for name, pid in pids.items()}


def last_confirmed(detail: DeploymentDetail) -> float:
    """When the last robot's confirmation was stored, in seconds since the epoch."""
    assert detail.rollout is not None
    times = [robot.confirmed_at for robot in detail.rollout.robots if robot.confirmed_at is not None]
    return max(times).timestamp()
