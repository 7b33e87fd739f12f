"""Projects and their environments."""

from __future__ import annotations

from litestar import get, post

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.undoing import FreezeAgain
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.live_changes import frost_of
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.wire.api import Environment, FreezeRequest, Identity, NewProject, Project, Role
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, checked_name

MAX_REASON = 1000


@get("/api/projects")
async def list_projects(context: Context) -> list[Project]:
    """All projects, by name."""
    async with context.database.transaction() as tx:
        return await projects.listed(tx)


@get("/api/projects/{project:str}")
async def show_project(context: Context, project: str) -> Project:
    """One project with its environments."""
    async with context.database.transaction() as tx:
        return await projects.read(tx, project)


@post("/api/projects", role=Role.DEPLOYER)
async def create_project(context: Context, identity: Identity, data: NewProject) -> Project:
    """Makes a project. 409 when there is one of that name."""
    name = ProjectName(checked_name("a project", data.name))
    async with context.database.transaction() as tx:
        if not await projects.insert(tx, name, identity.name, context.now()):
            raise projects.not_created(name)
        await audit.record(tx, identity.name, "project.create", f"project/{name}")
        return await projects.read(tx, name)


@post("/api/projects/{project:str}/environments/{environment:str}/freeze", role=Role.DEPLOYER, status_code=200)
async def freeze(
    context: Context, identity: Identity, project: str, environment: str, data: FreezeRequest
) -> Environment:
    """Stops automatic deployment; freezing again keeps the first reason."""
    if len(data.reason) > MAX_REASON:
        raise BadInput(f"the reason is {len(data.reason)} characters long, at most {MAX_REASON} are kept")
    async with context.database.transaction() as tx:
        await projects.environment(tx, ProjectName(project), environment)
        if await projects.freeze(
            tx, ProjectName(project), environment, identity.name, context.now(), data.reason or "by hand"
        ):
            await audit.record(
                tx,
                identity.name,
                "environment.freeze",
                f"project/{project}/{environment}",
                {"reason": data.reason},
                undo=FreezeAgain(
                    environment=EnvironmentName(environment),
                    before=None,
                    after=await frost_of(tx, project, environment),
                ),
            )
            await tx.notify("rollout", f"{project}/{environment}")
        return await projects.environment(tx, ProjectName(project), environment)


@post("/api/projects/{project:str}/environments/{environment:str}/unfreeze", role=Role.DEPLOYER, status_code=200)
async def unfreeze(
    context: Context, identity: Identity, project: str, environment: str, data: FreezeRequest
) -> Environment:
    """Lets automatic deployment go on."""
    async with context.database.transaction() as tx:
        await projects.environment(tx, ProjectName(project), environment)
        before = await frost_of(tx, project, environment)
        if await projects.unfreeze(tx, ProjectName(project), environment):
            await audit.record(
                tx,
                identity.name,
                "environment.unfreeze",
                f"project/{project}/{environment}",
                {"reason": data.reason},
                undo=FreezeAgain(environment=EnvironmentName(environment), before=before, after=None),
            )
        return await projects.environment(tx, ProjectName(project), environment)


handlers = [list_projects, show_project, create_project, freeze, unfreeze]
