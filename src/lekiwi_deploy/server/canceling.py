"""Stopping a deployment wherever it is: its build, its wait for approval, its waves."""

from __future__ import annotations

import msgspec

from lekiwi_deploy.errors import BadInput, Conflict
from lekiwi_deploy.fleet.approval import End
from lekiwi_deploy.server.approval_ends import end_request
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.rollouts import Place, undo_text
from lekiwi_deploy.server.steering import abort
from lekiwi_deploy.server.store import approvals, audit, deployments, progress, projects, robots, rollouts
from lekiwi_deploy.server.store.conducted import PostgresConducting
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import Identity
from lekiwi_deploy.wire.changes import Cancel, Canceled
from lekiwi_deploy.wire.ids import RolloutId
from lekiwi_deploy.wire.progress import Closed
from lekiwi_deploy.wire.rollouts import RolloutAct

MAX_REASON = 1000


async def cancel(tx: Transaction, context: Context, identity: Identity, row: DeploymentRow, asked: Cancel) -> Canceled:
    """Stops it, and says what that was. Nothing changes for one that was canceled before. Raises `Conflict` when nothing is left to stop."""
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    because = f": {asked.reason}" if asked.reason else ""
    if row.status == "canceled":
        return await _answer(tx, context, row, text="it was canceled before")
    if await deployments.cancel(tx, row.id, why=f"canceled by {identity.name}{because}", now=context.now()):
        closed = Closed("canceled", f"canceled by {identity.name}{because}")
        await progress.append(tx, row.id, [closed], context.now(), close=True)
        await _record(tx, identity, row, row.environment, asked, "build")
        text = (
            "every process of it has ended, and nothing was sent to a robot"
            if row.status == "building"
            else "it was not begun"
        )
        return await _answer(tx, context, row, stopped="build", text=text)
    waiting = [one for one in await approvals.open_of(tx, [row.id]) if asked.environment in (None, one.environment)]
    for request in waiting:
        await rollouts.lock_environment(tx, request.project, request.environment)
        await end_request(tx, request, End.CANCELED, f"canceled by {identity.name}{because}", context.now())
        await _record(tx, identity, row, request.environment, asked, "request")
    under_way = await _under_way(tx, row, asked.environment)
    if under_way is not None:
        return await _stop_waves(tx, context, identity, row, under_way, asked)
    if waiting:
        text = f"it waits for no approval any more and does not go to {waiting[0].environment}"
        return await _answer(tx, context, row, stopped="request", text=text)
    live = [one.name for one in await projects.environments(tx, row.project) if one.live == row.id]
    raise Conflict(
        f"{row.id} is {'live in ' + ', '.join(live) if live else row.status}: there is nothing left to stop"
        + ("; going back takes it away" if live else ""),
        next=tuple(f"lekiwi rollback -e {name}" for name in live) or (f"lekiwi inspect {row.id}",),
    )


async def _under_way(tx: Transaction, row: DeploymentRow, environment: str | None) -> RolloutRow | None:
    found = [
        one
        for one in await rollouts.all_open(tx, row.project, environment)
        if one.deployment == row.id and one.kind == "deploy"
    ]
    if len(found) > 1:
        names = [one.environment for one in found]
        raise Conflict(
            f"{row.id} is on its way in {' and '.join(names)}: say which",
            next=tuple(f"lekiwi cancel {row.id} -e {name}" for name in names),
        )
    return found[0] if found else None


async def _stop_waves(
    tx: Transaction, context: Context, identity: Identity, row: DeploymentRow, found: RolloutRow, asked: Cancel
) -> Canceled:
    await abort(
        PostgresConducting(tx), context, identity, found.id, RolloutAct(reason=asked.reason, keep=not asked.revert)
    )
    await _record(tx, identity, row, found.environment, asked, "rollout")
    took, rest = found.live, max(0, found.total - found.live)
    reverting: RolloutId | None = None
    undo = ""
    if asked.revert:
        there = await rollouts.lock_environment(tx, found.project, found.environment)
        reverting = there.live_rollout if there is not None and there.live != row.id else None
        back_to = there.live if there is not None and there.live != row.id else None
        text = f"nobody else is asked in {found.environment}"
        text += f", and {_robots(took)} that took it go back to {back_to}" if back_to and took else ""
        text += f"; {back_to} is live again" if back_to else "; nothing is live there, as before"
    else:
        kept = f"{_robots(took)} took it and {'keeps' if took == 1 else 'keep'} it" if took else "no robot confirmed it"
        left = f", {_robots(rest)} did not" if took and rest else ""
        text = f"nobody else is asked in {found.environment}: {kept}{left}; a robot that is switching finishes"
        place = Place(found.project, found.environment, len(await robots.environments_with_robots(tx, found.project)))
        undo = undo_text(place, "deploy", found.previous)
    return await _answer(tx, context, row, stopped="rollout", text=text, took=took, reverting=reverting, undo=undo)


def _robots(count: int) -> str:
    return "1 robot" if count == 1 else f"{count} robots"


async def _record(
    tx: Transaction, identity: Identity, row: DeploymentRow, environment: str | None, asked: Cancel, stopped: str
) -> None:
    where = f"project/{row.project}/{environment}/{row.id}"
    detail = {"stopped": stopped, "revert": asked.revert}
    await audit.record(tx, identity.name, "deployment.cancel", where, detail, reason=asked.reason)


async def _answer(tx: Transaction, context: Context, row: DeploymentRow, **said: object) -> Canceled:
    now = await deployments.read(tx, row.id)
    (view,) = await deployment_views(tx, context, [now or row])
    return msgspec.convert({**msgspec.structs.asdict(view), **said}, Canceled, from_attributes=True)
