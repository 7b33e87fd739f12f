"""Taking a change back."""

from __future__ import annotations

from litestar import post

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.undoing import undo
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.changes import Undo, Undone
from lekiwi_deploy.wire.ids import ProjectName


@post("/api/projects/{project:str}/undo", role=Role.DEPLOYER, status_code=200)
async def undo_change(context: Context, identity: Identity, project: str, data: Undo) -> Undone:
    """Takes back the newest change that can be, or the one asked for; or only says which and what that would do."""
    async with context.database.transaction() as tx:
        return await undo(tx, context, identity, ProjectName(project), data)


handlers = [undo_change]
