"""Rollouts: look at, follow."""

from __future__ import annotations

from litestar import get
from litestar.response import Stream

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import entries
from lekiwi_deploy.server.http.deployments import checked_after
from lekiwi_deploy.server.http.ndjson import ndjson
from lekiwi_deploy.server.store import rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.server.views import rollout_view
from lekiwi_deploy.wire.api import Rollout


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


async def _found(tx: Transaction, id: str) -> RolloutRow:
    row = await rollouts.read(tx, id)
    if row is None:
        raise NotFound(f"there is no rollout {id[:40]!r}", next=("lekiwi list",))
    return row


handlers = [show_rollout, follow_rollout]
