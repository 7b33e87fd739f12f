"""A person opens a preview for a branch that was pushed: what is built of it goes live on a lent robot, and what is not is built first."""

from __future__ import annotations

from lekiwi_deploy.errors import BadInput, Blocked, NotFound
from lekiwi_deploy.fleet.branches import Deploys, Previews
from lekiwi_deploy.server import membership, previewing
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git import mapping
from lekiwi_deploy.server.git.repositories import repository_path, tips
from lekiwi_deploy.server.previewing import Terms, check_lease, check_robots, prepare, reopen
from lekiwi_deploy.server.store import audit, deployments, projects, quarantines
from lekiwi_deploy.server.store import previews as store
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, base62
from lekiwi_deploy.wire.previews import OpenPreview, PreviewView


async def open_preview(context: Context, project: ProjectName, asked: OpenPreview, by: str) -> PreviewView:
    """The branch's preview, with robots or in the queue for some. Raises `NotFound` (no such branch), `BadInput` (it gets no preview), `Blocked`
    (its commit failed in it before)."""
    if asked.lease_s is not None:
        check_lease(asked.lease_s)
    if asked.robots is not None:
        check_robots(asked.robots)
    branch = asked.branch.removeprefix("refs/heads/")
    commit = await _tip(context, project, branch)
    async with context.database.transaction() as tx:
        await membership.begin(tx, project)
        found = await _preview_of(tx, project, branch)
        row = await prepare(tx, context, project, found, by, Terms(asked.robots, asked.lease_s))
        deployment = await store.newest_built(tx, project, row.environment, branch, commit)
        if deployment is not None:
            await _check_not_failed(tx, project, row.environment, deployment)
        elif not await store.building(tx, project, row.environment):
            await _build(tx, context, project, row.environment, branch, by)
        await reopen(tx, context, row, deployment, by, asked.reason)
        return await previewing.show(tx, context, project, row.environment)


async def _tip(context: Context, project: ProjectName, branch: str) -> str:
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
    repository = repository_path(context.config.data, project)
    found = await tips(context.config.data, repository) if repository.exists() else {}
    commit = found.get(f"refs/heads/{branch}")
    if commit is None:
        raise NotFound(f"the project has no branch {branch[:80]!r}: push it first", next=(f"git push lekiwi {branch}",))
    return commit


async def _preview_of(tx: Transaction, project: ProjectName, branch: str) -> Previews:
    routes, _ = await mapping.stored(tx, project)
    found = routes.of(f"refs/heads/{branch}")
    if isinstance(found, Previews):
        return found
    where = f"it goes to {found.environment} ({found.why})" if isinstance(found, Deploys) else found.why
    patterns = ", ".join(f"{pattern}: {goes_to}" for pattern, goes_to in routes.branches) or "nothing"
    raise BadInput(
        f"the branch {branch[:80]} gets no preview: {where}. branches: of lekiwi.yaml says {patterns}",
        details={"branches": dict(routes.branches)},
    )


async def _check_not_failed(
    tx: Transaction, project: ProjectName, environment: EnvironmentName, deployment: DeploymentId
) -> None:
    held = await quarantines.holding(tx, project, environment, deployment)
    if held is not None:
        raise Blocked(
            f"{deployment} failed in {environment} before: {held.why}. Push a corrected version",
            next=(f"lekiwi inspect {deployment}", f"lekiwi preview rm {environment}"),
        )


async def _build(
    tx: Transaction, context: Context, project: ProjectName, environment: EnvironmentName, branch: str, by: str
) -> None:
    row = DeploymentRow(
        id=DeploymentId(f"dep_{base62(context.random(16), 8)}"),
        project=project,
        environment=environment,
        version="0.0.0",
        ref=f"refs/heads/{branch}",
        created_by=by,
        created_at=context.now(),
        source="ref",
    )
    await deployments.insert(tx, row)
    what = {"environment": environment, "ref": row.ref}
    await audit.record(tx, by, "deployment.create", f"project/{project}/{environment}/{row.id}", what)
