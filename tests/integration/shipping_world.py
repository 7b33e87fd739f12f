"""A fleet world with two environments, releases whose manifests are stored, and people with tokens of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fleet_world import PRODUCTION, WEB, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.server.builds.publish import publish_manifest
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import deployments, policies
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.approvals import ApprovalRequest, ApprovalRequests
from lekiwi_deploy.wire.changes import Moved
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest, Service
from lekiwi_deploy.wire.policy import Policy

STAGING = EnvironmentName("staging")


@dataclass
class ShippingWorld:
    """`people` by name, each with a token of a deployer."""

    fleet: FleetWorld
    people: dict[str, Asker] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return self.fleet.context

    @property
    def owner(self) -> Asker:
        return self.fleet.owner

    async def policy(self, given: Policy, environment: EnvironmentName = PRODUCTION) -> None:
        """Makes it the environment's."""
        async with self.context.database.transaction() as tx:
            await policies.write(tx, WEB, environment, None, given)

    async def build(self, text: str = "", *, environment: EnvironmentName = PRODUCTION, **more: Any) -> DeploymentId:
        """A deployment as a build leaves it, whose one file says `text`."""
        id = await self.fleet.build(version=more.pop("version", ""))
        content = (text or id).encode()
        manifest = Manifest(
            project=WEB,
            stack="plain",
            files=(FileEntry("code/web.sh", FileKind.FILE, len(content), object_digest(content)),),
            services=(Service(name="web", run=("sh", "web.sh"), content=object_digest(content)),),
        )
        digest, size = await publish_manifest(self.context.objects, manifest)
        async with self.context.database.transaction() as tx:
            row = await deployments.read(tx, id)
            assert row is not None
            row = msgspec.structs.replace(
                row,
                environment=environment,
                package_hash=digest,
                manifest_size=size,
                input_digest=f"in-{digest}",
                **more,
            )
            await tx.execute("DELETE FROM deployments WHERE id = %s", (id,))
            await deployments.insert(tx, row)
        return id

    async def release(self, text: str = "", *, environment: EnvironmentName = PRODUCTION, **more: Any) -> DeploymentId:
        """Builds, rolls out, and waits for the verdict."""
        id = await self.build(text, environment=environment, **more)
        await self.fleet.finished(await self.fleet.roll_out(id, environment))
        return id

    async def row(self, id: str) -> DeploymentRow:
        """As the database has it."""
        async with self.context.database.transaction() as tx:
            found = await deployments.read(tx, id)
        assert found is not None
        return found

    async def live(self, environment: EnvironmentName = PRODUCTION) -> DeploymentId | None:
        """What is live there."""
        return (await self.fleet.environment(environment)).live

    async def post(self, path: str, body: object = None, *, by: str = "", status: int = 200) -> dict[str, Any]:
        """The answer to a POST, of which that status is expected."""
        asker = self.people[by] if by else self.owner
        got, _, told = await asker.ask("POST", path, body if body is not None else {})
        assert got == status, told
        found: dict[str, Any] = told
        return found

    async def promote(self, source: str, target: str = PRODUCTION, *, by: str = "", **more: object) -> Moved:
        """A promote that is granted."""
        body = {"source": source, "target": target, **more}
        return msgspec.convert(await self.post("/api/projects/web/promote", body, by=by), Moved)

    async def say(
        self, verb: str, deployment: str, by: str, *, status: int = 200, **more: object
    ) -> ApprovalRequest | dict[str, Any]:
        """A person's word; the request, or what was refused."""
        told = await self.post(f"/api/deployments/{deployment}/{verb}", more, by=by, status=status)
        return msgspec.convert(told, ApprovalRequest) if status == 200 else told

    async def approvals(self, query: str = "") -> tuple[ApprovalRequest, ...]:
        """What waits."""
        found: ApprovalRequests = await self.fleet.get(f"/api/projects/web/approvals{query}", ApprovalRequests)
        return found.requests


@asynccontextmanager
async def shipping_world(
    context: Context, owner: Asker, url: str, people: dict[str, Asker], robots: int = 2
) -> AsyncIterator[ShippingWorld]:
    """So many robots in production, one in staging."""
    async with fleet_world(context, owner, url) as fleet:
        for _ in range(robots):
            await fleet.robot()
        await fleet.robot("try-001", group="staging")
        yield ShippingWorld(fleet, people)
