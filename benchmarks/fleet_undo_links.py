"""Fleet undo over 1,000 simulated links: the real server, and robots that only speak the link's protocol and do at once what they are asked to
(tests/integration/simulated_robot.py), all of them in this one process. So it shows the server's part, not a robot's."""

from __future__ import annotations

import asyncio
import base64
import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec
from nacl.signing import SigningKey

from benchmarks.figure import Figure
from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import Repository, show
from lekiwi_deploy.wire.api import DeploymentDetail, Deployments, Joined, JoinRequest, RobotJoin
from lekiwi_deploy.wire.encoding import encode

LINKS = 1_000
BAD = 3
_YAML = """services: {arm: {run: sh arm.sh}}
production: {branch: main, health_checks: minimal, rollback_on_error: true, max_failures: 2}
"""
_HERE = Path(__file__).parents[1] / "tests/integration"


class _AllBut(set[str]):
    """Every deployment but those in it."""

    def __contains__(self, id: object) -> bool:
        return not super().__contains__(id)


def measure() -> list[Figure]:
    """The figure, of a server that is started for this and ended afterwards."""
    sys.path.insert(0, str(_HERE))
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-bench-"))
    folder.chmod(0o755)
    try:
        with LocalFleet(folder) as fleet:
            fleet.server.start()
            person = fleet.person()
            repository = person.repository(
                fleet.folder / "arm", {"lekiwi.yaml": _YAML, "arm.sh": "exec sleep 1000000\n"}
            )
            repository.lekiwi("link", "arm").ok()
            repository.push("arm", within_s=300).ok()
            return [asyncio.run(_measure(fleet, repository))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(fleet: LocalFleet, repository: Repository) -> Figure:
    good = _newest(repository)
    robots = await _linked(fleet)
    for robot in robots[:BAD]:
        robot.bad = _AllBut((good,))
    await _until(repository, good)
    repository.commit("Broken", {"arm.sh": "exit 1\n"})
    await asyncio.to_thread(repository.push, "arm", within_s=300)
    undone = await _until(repository, good)
    for robot in robots:
        await robot.close()
    return Figure(
        name=f"fleet undo, gate tripped → last of {LINKS:,} SIMULATED links confirmed",
        value=undone,
        unit="ms",
    )


async def _linked(fleet: LocalFleet) -> list[Any]:
    simulated = importlib.import_module("simulated_robot")
    robots: list[Any] = []
    head = {"Authorization": f"Bearer {fleet.server.owner_token()}"}
    async with httpx.AsyncClient(base_url=fleet.server.url, trust_env=False, timeout=60) as http:
        for number in range(LINKS):
            body = encode({"name": f"kiwi-{number:04}", "group": "production"})
            added = await http.post("/api/projects/arm/robots", content=body, headers=head)
            line = msgspec.json.decode(added.content, type=RobotJoin)
            key = SigningKey.generate()
            public = base64.b64encode(bytes(key.verify_key)).decode()
            request = JoinRequest(
                token=line.token, public_key=public, hostname="kiwi", agent="0.1", platform=simulated.PLATFORM
            )
            joined = msgspec.json.decode((await http.post("/api/join", content=encode(request))).content, type=Joined)
            robot = simulated.SimulatedRobot(
                name=joined.robot, url=fleet.server.url, server=joined.server, key=bytes(key)
            )
            await robot.welcomed()
            robots.append(robot)
            if number % 100 == 99:
                show(f"{number + 1} simulated robots are linked")
    return robots


def _newest(repository: Repository) -> str:
    listed: Deployments = repository.lekiwi("list", "--json").ok().json(Deployments)
    return listed.deployments[0].id


async def _until(repository: Repository, deployment: str) -> float:
    """Waits until all are confirmed on it; milliseconds from the beginning of its newest rollout until the last one was."""
    async with asyncio.timeout(180):
        while True:
            ran = await asyncio.to_thread(repository.lekiwi, "inspect", deployment, "--json")
            detail: DeploymentDetail = ran.ok().json(DeploymentDetail)
            rollout = detail.rollout
            assert rollout is not None
            times = [robot.confirmed_at for robot in rollout.robots if robot.confirmed_at is not None]
            if len(times) == LINKS:
                return 1000 * (max(times) - rollout.created_at).total_seconds()
            await asyncio.sleep(0.5)
