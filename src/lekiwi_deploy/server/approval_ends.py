"""How requests for approval end without a rollout: rejected, expired, canceled, or something newer took their place."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.fleet.approval import End
from lekiwi_deploy.server.store import approvals, audit, deployments, progress, refs
from lekiwi_deploy.server.store.approvals import RequestRow
from lekiwi_deploy.server.store.database import Database, Transaction
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.progress import Body, Closed, Note

SERVER = "server"


async def end_request(tx: Transaction, row: RequestRow, how: End, why: str, now: datetime) -> None:
    """Ends it, says so to whoever follows the deployment, and has a push that waited for it wait no more. `why`: one line."""
    await approvals.end(tx, row.id, how, now)
    if row.options.push:
        await refs.give_up(tx, row.deployment)
    await tell_waiting(tx, row.deployment, why, now)


async def tell_waiting(tx: Transaction, id: DeploymentId, what: str, now: datetime) -> None:
    """Says to whoever follows the deployment what keeps it, or that nothing will come: of one that went to another environment before, in
    passing, since its story has another end."""
    row = await deployments.read(tx, id)
    body: Body = Note(what) if row is not None and row.rollout is not None else Closed("built", what)
    await progress.append(tx, id, [body], now)


async def supersede_requests(tx: Transaction, id: DeploymentId, environment: str, now: datetime) -> None:
    """The deployment goes live in the environment: what was made before it is not to replace it later."""
    deployment = await deployments.read(tx, id)
    if deployment is None:
        return
    for row in await approvals.older(tx, deployment.project, environment, deployment.id, deployment.created_at):
        if row.deployment == deployment.id:  # it goes live without: nothing is left to agree to
            await approvals.end(tx, row.id, End.SUPERSEDED, now)
        else:
            why = f"superseded: {deployment.id} {deployment.version} went to {environment} meanwhile"
            await end_request(tx, row, End.SUPERSEDED, why, now)


async def expire(database: Database, now: datetime) -> None:
    """Ends what nobody agreed to in time. For the loop that keeps the house."""
    async with database.transaction() as tx:
        for row in await approvals.overdue(tx, now):
            span = f"{(row.expires_at - row.asked_at).total_seconds() / 3600:g} h"
            why = f"expired: nobody let it go live in {row.environment} within {span}; deploy it again"
            await end_request(tx, row, End.EXPIRED, why, now)
            where = f"project/{row.project}/{row.environment}/{row.deployment}"
            await audit.record(tx, SERVER, "deployment.expire", where, {"request": row.id, "why": why})
