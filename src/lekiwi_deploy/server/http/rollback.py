"""Going back: what a selector means, and making it live again."""

from __future__ import annotations

from litestar import get, post

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.going_back import go_back, meaning
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.rollback import Resolution, RollbackAnswer, RollbackRequest


@get("/api/projects/{project:str}/resolve")
async def resolve(
    context: Context,
    project: str,
    selector: str | None = None,
    environment: str | None = None,
    utc_offset_min: int = 0,
) -> Resolution:
    """What a selector means now, without doing anything."""
    async with context.database.transaction() as tx:
        target = await environment_meant(tx, ProjectName(project), environment, "lekiwi rollback")
        found = await meaning(tx, context, target, selector, current=target.live, utc_offset_min=utc_offset_min)
        return found.resolution


@post("/api/projects/{project:str}/rollback", role=Role.DEPLOYER, status_code=200)
async def rollback(context: Context, identity: Identity, project: str, data: RollbackRequest) -> RollbackAnswer:
    """Makes an earlier deployment live again, or takes one robot back to it."""
    async with context.database.transaction() as tx:
        return await go_back(tx, context, identity, ProjectName(project), data)


handlers = [resolve, rollback]
