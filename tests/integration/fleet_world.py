"""A project with simulated robots, the conductor running, and releases that need no build."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from served_app import Asker
from simulated_robot import SimulatedRobot, enrol

from lekiwi_deploy.server import conductor
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import follow
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import deployments, projects
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.wire.api import DeploymentDetail, Environment, Robot, Rollout
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RolloutId
from lekiwi_deploy.wire.progress import Progress, RolloutFinished

WEB = ProjectName("web")
PRODUCTION = EnvironmentName("production")


@dataclass
class FleetWorld:
    """`context` of the server, an `owner` who asks it at `url`."""

    context: Context
    owner: Asker
    url: str
    robots: list[SimulatedRobot] = field(default_factory=list)
    released: int = 0

    async def robot(self, name: str = "", *, group: str = "production", online: bool = True) -> SimulatedRobot:
        """One more robot."""
        robot = await enrol(self.owner, self.url, name or f"kiwi-{len(self.robots) + 1:03}", group=group)
        self.robots.append(robot)
        if online:
            await robot.welcomed()
        return robot

    async def build(
        self, *, platforms: tuple[str, ...] = (), commit: str | None = None, version: str = ""
    ) -> DeploymentId:
        """A deployment as a build leaves it."""
        self.released += 1
        row = DeploymentRow(
            id=DeploymentId(f"dep_{self.released:02}{secrets.token_hex(3)}"),
            project=WEB,
            environment=PRODUCTION,
            version=version or f"v0.{self.released}.0",
            commit_sha=commit or secrets.token_hex(20),
            branch="main",
            created_by="anna",
            created_at=self.context.now(),
            source="push",
            status="built",
            package_hash=ManifestDigest(secrets.token_hex(32)),
            manifest_size=10,
            metadata=DeploymentMetadata(services=("web",), platforms=platforms),
        )
        async with self.context.database.transaction() as tx:
            await deployments.insert(tx, row)
        return row.id

    async def roll_out(self, deployment: DeploymentId, environment: EnvironmentName = PRODUCTION) -> RolloutId:
        """Starts its rollout, as the reconciler does."""
        async with self.context.database.transaction() as tx:
            return await start_rollout(
                tx,
                self.context,
                deployment_id=deployment,
                environment=environment,
                kind="deploy",
                by="anna",
                reason="pushed",
            )

    async def release(self, **more: Any) -> DeploymentId:
        """Builds, rolls out, and waits for the verdict."""
        deployment = await self.build(**more)
        await self.finished(await self.roll_out(deployment))
        return deployment

    async def story(self, stream: str) -> list[Progress]:
        """All of a stream, up to its end."""
        async with asyncio.timeout(10):
            return [entry async for entry in follow(self.context, stream)]

    async def finished(self, rollout: RolloutId) -> RolloutFinished:
        """The verdict of a rollout."""
        last = (await self.story(rollout))[-1].body
        assert isinstance(last, RolloutFinished), last
        return last

    async def get(self, path: str, kind: Any) -> Any:
        """A GET that works."""
        status, _, body = await self.owner.ask("GET", path)
        assert status == 200, body
        return msgspec.convert(body, kind)

    async def rollout(self, id: str) -> Rollout:
        """As the API shows it."""
        found: Rollout = await self.get(f"/api/rollouts/{id}", Rollout)
        return found

    async def detail(self, id: str) -> DeploymentDetail:
        """As the API shows it."""
        found: DeploymentDetail = await self.get(f"/api/deployments/{id}", DeploymentDetail)
        return found

    async def seen(self, name: str) -> Robot:
        """The robot as the API shows it."""
        found: Robot = await self.get(f"/api/robots/{name}", Robot)
        return found

    async def environment(self, name: EnvironmentName = PRODUCTION) -> Environment:
        """As the database has it."""
        async with self.context.database.transaction() as tx:
            return await projects.environment(tx, WEB, name)

    async def until(self, what: str, true: Any) -> None:
        """Waits until the coroutine function `true` gives something true; looks after each rollout step."""
        with self.context.nudges.subscribe("progress") as progress, self.context.nudges.subscribe("rollout") as hints:
            async with asyncio.timeout(10):
                while not await true():
                    waits = [asyncio.create_task(one.wait(0.1)) for one in (progress, hints)]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    for wait in waits:
                        wait.cancel()
                    await asyncio.gather(*waits, return_exceptions=True)


@asynccontextmanager
async def fleet_world(context: Context, owner: Asker, url: str) -> AsyncIterator[FleetWorld]:
    """A world whose conductor runs until the end; its links are closed then."""
    async with context.database.transaction() as tx:
        await projects.insert(tx, WEB, "anna", context.now())
    world = FleetWorld(context, owner, url)
    conducting = asyncio.create_task(conductor.run(context))
    try:
        yield world
    finally:
        for robot in world.robots:
            await robot.close()
        conducting.cancel()
        await asyncio.gather(conducting, return_exceptions=True)
