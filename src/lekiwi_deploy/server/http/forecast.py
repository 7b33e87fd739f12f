"""What a deployment would do, before anybody does it."""

from __future__ import annotations

from litestar import post

from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.fleet.pace import check_pace
from lekiwi_deploy.server.approving import steps_asked
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.forecasting import Wanted, forecast
from lekiwi_deploy.server.going_back import meaning
from lekiwi_deploy.server.targeting import environment_meant
from lekiwi_deploy.wire.forecast import Forecast, ForecastRequest
from lekiwi_deploy.wire.ids import ProjectName


@post("/api/projects/{project:str}/forecast", status_code=200)
async def foretell(context: Context, project: str, data: ForecastRequest) -> Forecast:
    """The plan of a deployment that is there, or of one that is not built yet."""
    async with context.database.transaction() as tx:
        target = await environment_meant(tx, ProjectName(project), data.environment, "lekiwi deploy --dry-run")
        row = None
        if data.deployment is not None:
            found = await meaning(
                tx, context, target, data.deployment, current=target.live, utc_offset_min=data.utc_offset_min
            )
            row = found.row
        way = Way.PUSH if data.pushed else Way.DEPLOY
        if data.pace is not None:
            check_pace(data.pace)
        steps = await steps_asked(tx, data.pace, target.project, target.name, force=data.force)
        wanted = Wanted(environment=target, row=row, way=way, force=data.force, steps=steps)
        return await forecast(tx, context, wanted)


handlers = [foretell]
