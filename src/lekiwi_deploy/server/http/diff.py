"""What differs between two deployments."""

from __future__ import annotations

from litestar import get

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.differing import differences
from lekiwi_deploy.server.store import projects
from lekiwi_deploy.wire.changes import Differences
from lekiwi_deploy.wire.ids import ProjectName


@get("/api/projects/{project:str}/diff")
async def diff(
    context: Context, project: str, a: str, b: str, environment: str | None = None, utc_offset_min: int = 0
) -> Differences:
    """From `a` to `b`: environments (what is live there) or selectors."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
    return await differences(context, ProjectName(project), a, b, environment, utc_offset_min)


handlers = [diff]
