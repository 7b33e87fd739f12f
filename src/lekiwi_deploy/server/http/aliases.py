"""Labels of deployments."""

from __future__ import annotations

from litestar import delete, get, put

from lekiwi_deploy.server.aliasing import remove_alias, set_alias
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import aliases, projects
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.changes import Alias, Aliases, SetAlias
from lekiwi_deploy.wire.ids import ProjectName


@get("/api/projects/{project:str}/aliases")
async def list_aliases(context: Context, project: str) -> Aliases:
    """All labels of the project, by name."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        return Aliases(aliases=tuple(row.shown for row in await aliases.listed(tx, project)))


@put("/api/projects/{project:str}/aliases/{name:str}", role=Role.DEPLOYER)
async def put_alias(context: Context, identity: Identity, project: str, name: str, data: SetAlias) -> Alias:
    """Makes `name` a label of a deployment; every selector understands it."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        return await set_alias(tx, context, identity, ProjectName(project), name, data)


@delete("/api/projects/{project:str}/aliases/{name:str}", role=Role.DEPLOYER, status_code=200)
async def delete_alias(context: Context, identity: Identity, project: str, name: str, reason: str = "") -> Alias:
    """Removes a label; what it named is untouched."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        return await remove_alias(tx, identity, ProjectName(project), name, reason)


handlers = [list_aliases, put_alias, delete_alias]
