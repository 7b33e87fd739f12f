"""The history of changes."""

from __future__ import annotations

from litestar import get

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.activity import change_view
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.wire.api import Audit

MAX_PAGE = 1000


@get("/api/projects/{project:str}/activity")
async def show_activity(context: Context, project: str, limit: int = 50) -> list[Audit]:
    """The latest changes of a project, newest first."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit must be 1 to {MAX_PAGE}, not {limit}")
    async with context.database.transaction() as tx:
        await projects.read(tx, project)
        return [change_view(row) for row in await audit.newest(tx, limit, (f"project/{project}",))]


handlers = [show_activity]
