"""Groups of robots: list, look at, define, remove."""

from __future__ import annotations

from litestar import delete, get, put

from lekiwi_deploy.server import grouping
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.reasons import checked_reason
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.environments import Group, Groups, SetGroup
from lekiwi_deploy.wire.ids import ProjectName


@get("/api/projects/{project:str}/groups")
async def list_groups(context: Context, project: str) -> Groups:
    """Groups by name: defined ones, and those that environments or robots name."""
    async with context.database.transaction() as tx:
        return Groups(groups=tuple(await grouping.listed(tx, ProjectName(project))))


@get("/api/projects/{project:str}/groups/{name:str}")
async def show_group(context: Context, project: str, name: str) -> Group:
    """One group with its robots."""
    async with context.database.transaction() as tx:
        return await grouping.read(tx, ProjectName(project), name)


@put("/api/projects/{project:str}/groups/{name:str}", role=Role.DEPLOYER)
async def set_group(context: Context, identity: Identity, project: str, name: str, data: SetGroup) -> Group:
    """Defines a group, or defines it anew; robots move with it."""
    checked_reason(data.reason)
    async with context.database.transaction() as tx:
        moved = await grouping.define(
            tx, context, ProjectName(project), identity.name, name, data.selector, reason=data.reason
        )
        return await grouping.read(tx, ProjectName(project), name, moved=moved)


@delete("/api/projects/{project:str}/groups/{name:str}", role=Role.DEPLOYER, status_code=204)
async def remove_group(context: Context, identity: Identity, project: str, name: str, reason: str = "") -> None:
    """Ends a group's definition."""
    checked_reason(reason)
    async with context.database.transaction() as tx:
        await grouping.remove(tx, ProjectName(project), identity.name, name, reason=reason)


handlers = [list_groups, show_group, set_group, remove_group]
