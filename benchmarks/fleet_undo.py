"""Fleet undo with real agents: a release fails on three of 50 robots, and the other 47, which took it, go back; the time is from the gate tripping
until the last one is confirmed on what ran before. Beside it a person's rollback of the same robots. The service is a shell that sleeps."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.figure import Figure
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import Person, Repository, show
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import DeploymentDetail, Deployments, Robots, RobotStatus

ROBOTS = 50
BAD = 3
_YAML = """services: {arm: {run: sh arm.sh}}
production: {branch: main, health_checks: minimal, rollback_on_error: true, max_failures: 2}
"""
_WELL = "exec sleep 1000000  # {number}\n"
_CONFIRMED = (RobotStatus.HEALTHY, RobotStatus.GOOD)


def measure() -> list[Figure]:
    """Figures of a fleet that is started for this and ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o755)
    try:
        with LocalFleet(folder) as fleet:
            return _measure(fleet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(fleet: LocalFleet) -> list[Figure]:
    fleet.server.start()
    person = fleet.person()
    repository = person.repository(fleet.folder / "arm", {"lekiwi.yaml": _YAML, "arm.sh": _WELL.format(number=0)})
    repository.lekiwi("link", "arm").ok()
    for number in range(ROBOTS):
        robot = fleet.robot(f"kiwi-{number:03}")
        robot.add_and_join(person, "arm")
        robot.start()
        show(f"{robot.name} joined")
    eventually("all robots are online", lambda: _online(person) == ROBOTS, within_s=120, every_s=0.5)
    _push(repository, 1)
    second = _push(repository, 2)
    repository.lekiwi("rollback", within_s=120).ok()
    back = _span(repository, _newest(repository, 1))
    repository.lekiwi("unfreeze").ok()
    eventually("the newest runs again", lambda: _everywhere(repository, second), within_s=120, every_s=0.5)
    bad = "|".join(f"kiwi-{number:03}" for number in range(ROBOTS - BAD, ROBOTS))
    repository.commit(
        "Broken", {"arm.sh": f'case "$LEKIWI_ROBOT" in {bad}) sleep 3; exit 1;; esac\n{_WELL.format(number=3)}'}
    )
    repository.push("arm", within_s=300)
    eventually("it went back", lambda: _everywhere(repository, second), within_s=120, every_s=0.5)
    undone = _span(repository, second)
    return [
        Figure(
            name=f"fleet undo, gate tripped → last of {ROBOTS} real agents confirmed",
            value=undone,
            unit="ms",
            baseline=back,
            baseline_is="rollback by a person",
            target="< 3,000 ms",
            met=undone < 3000,
        )
    ]


def _online(person: Person) -> int:
    robots: Robots = person.lekiwi("robots", "list", "-p", "arm", "--json").ok().json(Robots)
    return sum(robot.online for robot in robots.robots)


def _push(repository: Repository, number: int) -> str:
    repository.commit(f"Number {number}", {"arm.sh": _WELL.format(number=number)})
    repository.push("arm", within_s=300).ok()
    newest = _newest(repository, 0)
    eventually("it runs everywhere", lambda: _everywhere(repository, newest), within_s=120, every_s=0.5)
    return newest


def _newest(repository: Repository, back: int) -> str:
    listed: Deployments = repository.lekiwi("list", "--json").ok().json(Deployments)
    return listed.deployments[back].id


def _detail(repository: Repository, deployment: str) -> DeploymentDetail:
    detail: DeploymentDetail = repository.lekiwi("inspect", deployment, "--json").ok().json(DeploymentDetail)
    return detail


def _everywhere(repository: Repository, deployment: str) -> bool:
    rollout = _detail(repository, deployment).rollout
    return (
        rollout is not None
        and len(rollout.robots) == ROBOTS
        and all(robot.status in _CONFIRMED for robot in rollout.robots)
    )


def _span(repository: Repository, deployment: str) -> float:
    """Milliseconds from the beginning of its newest rollout until the last robot was confirmed."""
    rollout = _detail(repository, deployment).rollout
    assert rollout is not None
    last = max(robot.confirmed_at for robot in rollout.robots if robot.confirmed_at is not None)
    return 1000 * (last - rollout.created_at).total_seconds()
