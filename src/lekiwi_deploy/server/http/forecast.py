"""What a deployment would do, before anybody does it."""

from __future__ import annotations

from litestar import post

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.fleet.pace import check_pace
from lekiwi_deploy.server.approving import steps_asked
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.forecasting import Wanted, forecast
from lekiwi_deploy.server.git.repositories import GitFailed, git, repository_path
from lekiwi_deploy.server.going_back import meaning
from lekiwi_deploy.server.store import deployments
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.wire.forecast import Forecast, ForecastRequest
from lekiwi_deploy.wire.ids import ProjectName, checked_name


@post("/api/projects/{project:str}/forecast", status_code=200)
async def foretell(context: Context, project: str, data: ForecastRequest) -> Forecast:
    """The plan of a deployment that is there, or of one that is not built yet."""
    if data.deployment is not None and data.ref is not None:
        raise BadInput("give deployment or ref, not both")
    commit = await _commit(context, project, data.ref) if data.ref is not None else None
    async with context.database.transaction() as tx:
        target = await environment_meant(tx, ProjectName(project), data.environment, "lekiwi deploy --dry-run")
        row = None
        if data.deployment is not None:
            found = await meaning(
                tx, context, target, data.deployment, current=target.live, utc_offset_min=data.utc_offset_min
            )
            row = found.row
        elif commit is not None:
            row = await deployments.built_of(tx, target.project, commit)
        way = Way.PUSH if data.pushed else Way.DEPLOY
        if data.pace is not None:
            check_pace(data.pace)
        steps = await steps_asked(tx, data.pace, target.project, target.name, force=data.force)
        wanted = Wanted(environment=target, row=row, way=way, force=data.force, steps=steps)
        return await forecast(tx, context, wanted)


async def _commit(context: Context, project: str, ref: str) -> str:
    """The commit that the ref names. Raises `NotFound`."""
    if not ref or ref.startswith("-") or not ref.isprintable() or len(ref) > 255:
        raise BadInput(f"{ref[:60]!r} is no branch, tag or commit")
    data, repository = context.config.data, repository_path(context.config.data, checked_name("a project", project))
    try:
        said = await git(data, repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except (GitFailed, OSError):
        raise NotFound(
            f"the repository of {project} has no branch, tag or commit {ref[:60]!r}: push it first"
        ) from None
    return said.decode().strip()


handlers = [foretell]
