"""Making live what was built before: promote, redeploy."""

from __future__ import annotations

from litestar import post

from lekiwi_deploy.errors import BadInput, Conflict
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.differing import side_of
from lekiwi_deploy.server.promoting import promote
from lekiwi_deploy.server.redeploying import redeploy
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import Deployment, Identity, Role
from lekiwi_deploy.wire.changes import Move, Moved, Redeploy
from lekiwi_deploy.wire.ids import ProjectName

MAX_MESSAGE = 10_000


@post("/api/projects/{project:str}/promote", role=Role.DEPLOYER, status_code=200)
async def promote_deployment(context: Context, identity: Identity, project: str, data: Move) -> Moved:
    """Has the deployment that is live in an environment, or that a selector names, go live in another one, byte for byte."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
    return await promote(context, identity, ProjectName(project), data)


@post("/api/projects/{project:str}/redeploy", role=Role.DEPLOYER, status_code=202)
async def redeploy_deployment(
    context: Context, identity: Identity, project: str, data: Redeploy, idempotency_key: str | None
) -> Deployment:
    """Makes a new deployment with the same content (`rebuild`: out of the same source) and the variables of now."""
    if data.message is not None and (len(data.message) > MAX_MESSAGE or "\0" in data.message):
        raise BadInput(f"message may have at most {MAX_MESSAGE} characters and no NUL")
    async with context.database.transaction() as tx:
        name = ProjectName(project)
        target = await environment_meant(tx, name, data.environment, "lekiwi redeploy")
        if data.deployment is None and target.live is None:
            raise Conflict(f"nothing is live in {target.name}: say what to deploy again", next=("lekiwi list",))
        known = {one.name: one for one in await projects.environments(tx, name)}
        said = data.deployment if data.deployment is not None else target.name
        side = await side_of(tx, context, name, known, said, target.name, data.utc_offset_min)
        made = await redeploy(
            tx,
            context,
            of=side.row.id,
            environment=target.name,
            by=identity.name,
            message=data.message,
            rebuild=data.rebuild,
            force=data.force,
            idempotency_key=idempotency_key,
        )
        what = {"of": side.row.id, "rebuild": data.rebuild, "force": data.force, "rollout": made.rollout}
        where = f"project/{project}/{target.name}/{made.row.id}"
        await audit.record(tx, identity.name, "deployment.redeploy", where, what, reason=data.message or "")
        (view,) = await deployment_views(tx, context, [made.row])
    return view


handlers = [promote_deployment, redeploy_deployment]
