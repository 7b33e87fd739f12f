"""Variables of services: what there is, what changed, what differs; set and removed. Values of secrets are only ever taken, never given."""

from __future__ import annotations

from litestar import get, post

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.variables import checked_scope
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.variables import changing, comparing, looking
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.variables import (
    ChangeVariables,
    Scope,
    VariableDifferences,
    Variables,
    VariablesChanged,
    checked_variable,
)


@get("/api/projects/{project:str}/variables")
async def list_variables(
    context: Context,
    project: str,
    environment: str | None = None,
    branch: str | None = None,
    tag: str | None = None,
    robot: str | None = None,
    resolved: bool = False,
) -> Variables:
    """The newest versions: all of the project, or those that count somewhere; `resolved`: the one of each name that is given there."""
    if tag is not None:
        (tag,) = checked_scope(Scope.TAG, tag)
    async with context.database.transaction() as tx:
        return await looking.listed(
            tx,
            context,
            ProjectName(project),
            environment=environment,
            branch=branch,
            tag=tag,
            robot=robot,
            resolved=resolved,
        )


@post("/api/projects/{project:str}/variables", role=Role.DEPLOYER, status_code=200)
async def change_variables(
    context: Context, identity: Identity, project: str, data: ChangeVariables
) -> VariablesChanged:
    """Sets and removes variables of one scope, all or nothing."""
    async with context.database.transaction() as tx:
        return await changing.change(tx, context, identity, ProjectName(project), data)


@get("/api/projects/{project:str}/variables/history")
async def show_history(context: Context, project: str, name: str | None = None, limit: int = 100) -> Variables:
    """All versions, newest first."""
    if not 1 <= limit <= looking.MAX_HISTORY:
        raise BadInput(f"limit must be 1 to {looking.MAX_HISTORY}")
    async with context.database.transaction() as tx:
        return await looking.history(
            tx, context, ProjectName(project), checked_variable(name) if name is not None else None, limit
        )


@get("/api/projects/{project:str}/variables/diff")
async def compare_variables(
    context: Context, project: str, a: str, b: str, environment: str | None = None
) -> VariableDifferences:
    """What differs from `a` to `b`: revisions, environments, deployments, `live` and `now` of `environment`."""
    async with context.database.transaction() as tx:
        return await comparing.compared(tx, context, ProjectName(project), a, b, environment)


handlers = [list_variables, change_variables, show_history, compare_variables]
