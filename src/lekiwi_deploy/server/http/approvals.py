"""What waits for people, and what they say to it."""

from __future__ import annotations

from litestar import get, post

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.approving import say
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.deployments import found
from lekiwi_deploy.server.store import approvals, projects
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.approvals import ApprovalRequest, ApprovalRequests, Say
from lekiwi_deploy.wire.ids import ProjectName

MAX_REASON = 1000


@get("/api/projects/{project:str}/approvals")
async def list_approvals(
    context: Context, project: str, environment: str | None = None, all: bool = False
) -> ApprovalRequests:
    """What waits for approval in the project (and environment), oldest first; with `all` also what did."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        if environment is not None:
            await projects.environment(tx, ProjectName(project), environment)
        rows = await approvals.listed(tx, project, environment, ended=all)
        return ApprovalRequests(requests=tuple(await approvals.views(tx, rows)))


@post("/api/deployments/{deployment:str}/approve", role=Role.DEPLOYER, status_code=200)
async def approve_deployment(context: Context, identity: Identity, deployment: str, data: Say) -> ApprovalRequest:
    """Says yes to a deployment that waits; the last one that is needed has it go live."""
    return await _say(context, identity, deployment, data, yes=True)


@post("/api/deployments/{deployment:str}/reject", role=Role.DEPLOYER, status_code=200)
async def reject_deployment(context: Context, identity: Identity, deployment: str, data: Say) -> ApprovalRequest:
    """Says no to a deployment that waits: it does not go live."""
    return await _say(context, identity, deployment, data, yes=False)


async def _say(context: Context, identity: Identity, deployment: str, data: Say, *, yes: bool) -> ApprovalRequest:
    if len(data.reason) > MAX_REASON or "\0" in data.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    async with context.database.transaction() as tx:
        row = await found(tx, deployment)
        return await say(tx, context, identity, row.id, data, yes=yes)


handlers = [list_approvals, approve_deployment, reject_deployment]
