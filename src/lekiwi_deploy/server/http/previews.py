"""Previews: list, open, look at, prolong, end."""

from __future__ import annotations

from litestar import delete, get, post

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.previews import Ended
from lekiwi_deploy.server import previewing
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.preview_opening import open_preview
from lekiwi_deploy.server.store import projects
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.previews import ExtendPreview, OpenPreview, Previews, PreviewView

MAX_REASON = 1000
MAX_BRANCH = 100


@get("/api/projects/{project:str}/previews")
async def list_previews(context: Context, project: str) -> Previews:
    """All of them, by name, with the queue."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        return Previews(previews=await previewing.views(tx, ProjectName(project), context.now()))


@get("/api/projects/{project:str}/previews/{name:str}")
async def show_preview(context: Context, project: str, name: str) -> PreviewView:
    """One, by its name or its branch."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        return await previewing.show(tx, context, ProjectName(project), name)


@post("/api/projects/{project:str}/previews", role=Role.DEPLOYER, status_code=200)
async def make_preview(context: Context, identity: Identity, project: str, data: OpenPreview) -> PreviewView:
    """Opens it for a branch that was pushed, or gives the one that there is robots again."""
    _check(data.reason)
    if not data.branch or len(data.branch) > MAX_BRANCH or not data.branch.isprintable():
        raise BadInput(f"{data.branch[:60]!r} is no branch")
    return await open_preview(context, ProjectName(project), data, identity.name)


@post("/api/projects/{project:str}/previews/{name:str}/extend", role=Role.DEPLOYER, status_code=200)
async def extend_preview(
    context: Context, identity: Identity, project: str, name: str, data: ExtendPreview
) -> PreviewView:
    """Its robots stay for so long from now."""
    _check(data.reason)
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        await previewing.extend(tx, context, ProjectName(project), name, data.lease_s, identity.name, data.reason)
        return await previewing.show(tx, context, ProjectName(project), name)


@delete("/api/projects/{project:str}/previews/{name:str}", role=Role.DEPLOYER, status_code=200)
async def remove_preview(
    context: Context, identity: Identity, project: str, name: str, reason: str = ""
) -> PreviewView:
    """Ends it: its robots go home, its environment is forgotten. Gives what it was."""
    _check(reason)
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        before = await previewing.show(tx, context, ProjectName(project), name)
        await previewing.end(
            tx, context, ProjectName(project), before.environment, Ended.REMOVED, identity.name, reason
        )
    return before


def _check(reason: str) -> None:
    if len(reason) > MAX_REASON or "\0" in reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")


handlers = [list_previews, show_preview, make_preview, extend_preview, remove_preview]
