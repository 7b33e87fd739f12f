"""Why: of one robot, a deployment, a rollout, an environment; and the events of a robot."""

from __future__ import annotations

from litestar import get

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.fleet.durations import moment
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.deployments import found
from lekiwi_deploy.server.store import events, rollouts
from lekiwi_deploy.server.targeting import robot_meant
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.server.why import event_view, why_deployment, why_environment, why_robot, why_rollout
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.why import RobotEvents, Why, Whys

MAX_PAGE = 500
RECENT = 10
"""How many events of a robot are shown with its reasons."""
PAST = 20
"""How many spans that held a robot back are looked at, where nobody asks for more."""


@get("/api/robots/{robot:str}/why")
async def why_this_robot(context: Context, robot: str, past: str | None = None, utc_offset_min: int = 0) -> Why:
    """What the robot runs, what is wanted of it, and what holds it back, in order; and what did before, the last few times, or since `past` (a
    time or span)."""
    since = moment(past, context.now(), utc_offset_min, what="past") if past is not None else None
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        return await why_robot(tx, row, recent=RECENT, past=MAX_PAGE if since is not None else PAST, since=since)


@get("/api/robots/{robot:str}/events")
async def show_events(context: Context, robot: str, limit: int = 50, before: int | None = None) -> RobotEvents:
    """What happened on the robot, newest first; `before`: only what has a smaller number."""
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(f"limit must be 1 to {MAX_PAGE}, not {limit}")
    if before is not None and not 0 <= before < 2**62:
        raise BadInput(f"before must be the number of an event, not {before}")
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        rows = await events.newest(tx, row.name, limit + 1, before)
    more = len(rows) > limit
    rows = rows[:limit]
    return RobotEvents(robot=row.name, events=tuple(map(event_view, rows)), cursor=rows[-1].seq if more else None)


@get("/api/deployments/{deployment:str}/why")
async def why_this_deployment(context: Context, deployment: str) -> Whys:
    """Why a deployment is not live everywhere: what it waits for itself, and the robots that do not run it."""
    async with context.database.transaction() as tx:
        (view,) = await deployment_views(tx, context, [await found(tx, deployment)], full=True)
        return await why_deployment(tx, view)


@get("/api/rollouts/{rollout:str}/why")
async def why_this_rollout(context: Context, rollout: str) -> Whys:
    """The robots of a rollout that do not run its deployment."""
    async with context.database.transaction() as tx:
        row = await rollouts.read(tx, rollout)
        if row is None:
            raise NotFound(f"there is no rollout {rollout[:40]!r}", next=("lekiwi list",))
        return await why_rollout(tx, row)


@get("/api/projects/{project:str}/why")
async def why_this_project(context: Context, project: str, environment: str | None = None) -> Whys:
    """Every robot of the project, or of one environment, that is not where it should be."""
    async with context.database.transaction() as tx:
        return await why_environment(tx, ProjectName(project), environment, context.now())


handlers = [why_this_robot, show_events, why_this_deployment, why_this_rollout, why_this_project]
