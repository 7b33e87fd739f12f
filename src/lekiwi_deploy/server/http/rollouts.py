"""Rollouts: look at, follow, steer."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import entries
from lekiwi_deploy.server.http.deployments import checked_after
from lekiwi_deploy.server.http.ndjson import ndjson
from lekiwi_deploy.server.steering import Act, abort, steer
from lekiwi_deploy.server.store import projects, rollouts
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.server.views import rollout_view
from lekiwi_deploy.wire.api import Identity, Role, Rollout
from lekiwi_deploy.wire.rollouts import RolloutAct


@get("/api/rollouts/{rollout:str}")
async def show_rollout(context: Context, rollout: str) -> Rollout:
    """One rollout with its robots, each with what it waits for."""
    async with context.database.transaction() as tx:
        row = await _found(tx, rollout)
        return rollout_view(row, await rollouts.robots(tx, row.id))


@get("/api/rollouts/{rollout:str}/progress")
async def follow_rollout(context: Context, rollout: str, after: int = 0, follow: bool = False) -> Stream:
    """What happens on its robots, from the entry after `after` on."""
    async with context.database.transaction() as tx:
        row = await _found(tx, rollout)
    return ndjson(entries(context, row.id, checked_after(after), follow))


@get("/api/projects/{project:str}/rollouts")
async def open_rollouts(context: Context, project: str, environment: str | None = None) -> list[Rollout]:
    """Rollouts that are under way in the project (and environment), newest first, with their robots."""
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        rows = await rollouts.all_open(tx, project, environment)
        return [rollout_view(row, await rollouts.robots(tx, row.id)) for row in rows]


def _steering(act: Act) -> HTTPRouteHandler:
    @post(f"/api/rollouts/{{rollout:str}}/{act}", role=Role.DEPLOYER, status_code=200, operation_id=f"rollout_{act}")
    async def handler(context: Context, identity: Identity, rollout: str, data: RolloutAct) -> Rollout:
        async with context.database.transaction() as tx:
            row = await steer(PostgresConducting(tx), context, identity, rollout, act, data)
            return rollout_view(row, await rollouts.robots(tx, row.id))

    handler.fn.__doc__ = _SAID[act]
    return handler


_SAID: Mapping[Act, str] = {
    "pause": "Asks nobody else until `resume`; robots under way go on.",
    "resume": "Lets a paused rollout go on.",
    "approve": "Lets the step begin that waits for a person.",
    "skip": "Goes on to the next step, without waiting for this one's gate or soak.",
    "complete": "Asks everybody now.",
}


@post("/api/rollouts/{rollout:str}/abort", role=Role.DEPLOYER, status_code=200)
async def abort_rollout(context: Context, identity: Identity, rollout: str, data: RolloutAct) -> Rollout:
    """Ends it; robots that took it go back, unless `keep`."""
    async with context.database.transaction() as tx:
        row = await abort(PostgresConducting(tx), context, identity, rollout, data)
        return rollout_view(row, await rollouts.robots(tx, row.id))


async def _found(tx: Transaction, id: str) -> RolloutRow:
    row = await rollouts.read(tx, id)
    if row is None:
        raise NotFound(f"there is no rollout {id[:40]!r}", next=("lekiwi list",))
    return row


handlers = [
    show_rollout,
    follow_rollout,
    open_rollouts,
    abort_rollout,
    *(_steering(act) for act in _SAID),
]
