"""The loop of previews: who queues gets robots as they come free, and robots go home when the time is over.

Level-triggered: it reads all previews of a project, asks `fleet.previews`, carries out what that says. Pushes do the same in their own
transaction, so that a free robot is theirs at once. One transaction at a time (`membership.begin`) decides in a project.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet.previews import Ended, Wish
from lekiwi_deploy.server import lending, membership
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import repository_path, tips
from lekiwi_deploy.server.preview_state import State, read_state
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import deployments, previews, progress
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.previews import PreviewRow
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.progress import Closed

LOOK_S = 2.0
BRANCHES_EVERY = 15
"""After how many looks branches are compared with previews: one that was deleted is noticed at once, unless the server died just then."""
MOVES_WITHIN = timedelta(minutes=10)
"""So long after its build the branch of a push may not be there yet."""
_log = logging.getLogger("lekiwi.previews")


async def run(context: Context) -> None:
    """Until cancelled. Hints: `previews`, of a project."""
    with context.nudges.subscribe("previews") as hints:
        turn = 0
        while True:
            if turn % BRANCHES_EVERY == 0:
                await end_deleted(context)
            turn += 1
            due = await look(context)
            left = LOOK_S if due is None else (due - context.now()).total_seconds()
            await hints.wait(min(LOOK_S, max(left, 0.05)))


async def look(context: Context) -> datetime | None:
    """Settles every project that has previews; the next time that something ends by itself."""
    async with context.database.transaction() as tx:
        projects = await previews.projects_with(tx)
    dues: list[datetime] = []
    for project in projects:
        try:
            async with context.database.transaction() as tx:
                state = await read_state(tx, project, context.now())
            if state.is_due:
                async with context.database.transaction() as tx:
                    await membership.begin(tx, project)
                    state = await settle(tx, context, project)
        except LekiwiError as error:
            _log.warning("previews of %s: %s", project, error.message)
            continue
        if state.settled.due is not None:
            dues.append(state.settled.due)
    return min(dues, default=None)


async def end_deleted(context: Context) -> None:
    """Ends previews of branches that are gone."""
    async with context.database.transaction() as tx:
        projects = await previews.projects_with(tx)
    now = context.now()
    for project in projects:
        repository = repository_path(context.config.data, project)
        branches = await tips(context.config.data, repository) if repository.exists() else {}
        async with context.database.transaction() as tx:
            await membership.begin(tx, project)
            for row in await previews.listed(tx, project):
                pushed = f"refs/heads/{row.branch}" in branches or row.opened_at > now - MOVES_WITHIN
                if pushed or await previews.building(tx, project, row.environment, now - MOVES_WITHIN):
                    continue
                try:
                    await lending.end(tx, row, Ended.BRANCH, now)
                except LekiwiError as error:
                    _log.warning("the preview %s of %s: %s", row.environment, project, error.message)


async def settle(tx: Transaction, context: Context, project: ProjectName) -> State:
    """Carries out what is due in the project now. The caller holds `membership.begin`."""
    now = context.now()
    state = await read_state(tx, project, now)
    settled = state.settled
    over: dict[EnvironmentName, list[str]] = {}
    for end in settled.ends:
        said = await lending.give_back(tx, project, state.leases[end.lease.id], end.why, now)
        over.setdefault(end.lease.environment, []).append(said)
    for grant in settled.grants:
        await lending.lend(tx, state.rows[grant.environment], grant, state.robots[grant.robot].desired, now)
    ended = {end.lease.id for end in settled.ends}
    held = Counter(lease.environment for lease in state.leases.values() if lease.id not in ended)
    held.update(grant.environment for grant in settled.grants)
    for name, row in state.rows.items():
        wish = settled.wishes[name]
        if not held[name] and wish.until is None and (row.until is not None or name in over):
            why = next((end.why for end in settled.ends if end.lease.environment == name), Ended.TIME)
            await lending.close(tx, project, name, lending.ended_text(name, why, over.get(name, [])), now)
            row = msgspec.structs.replace(row, live=None)
        await _keep(tx, context, row, wish, held=held[name])
    if settled.ends or settled.grants:
        await tx.notify("previews", project)
    return state


async def _keep(tx: Transaction, context: Context, row: PreviewRow, wish: Wish, *, held: int) -> None:
    """Notes what became of the preview, and lets go live what waited for a robot."""
    kept = msgspec.structs.replace(row, waits_since=wish.since, until=wish.until)
    if row.waits is not None and held:
        await _go_live(tx, context, row)
        kept = msgspec.structs.replace(kept, waits=None)
    idle = not held and wish.since is None and row.live is not None
    if idle and not await previews.robots_in(tx, row.project, row.environment):
        kept = msgspec.structs.replace(kept, waits_since=context.now())  # deployed to by another way than a push
        await tx.notify("previews", row.project)
    if kept != row:
        await previews.put(tx, kept)


async def _go_live(tx: Transaction, context: Context, row: PreviewRow) -> None:
    assert row.waits is not None
    found = await deployments.read(tx, row.waits)
    try:
        await start_rollout(
            tx,
            context,
            deployment_id=row.waits,
            environment=row.environment,
            kind="deploy",
            by=row.asked_by or row.opened_by,
            reason=(found.message or "").split("\n", 1)[0] if found is not None else "",
            again=True,
        )
    except LekiwiError as error:  # it failed there before, or is gone: said once, to whoever follows it
        _log.warning("%s does not go live in %s: %s", row.waits, row.environment, error.message)
        await progress.append(tx, row.waits, [Closed("built", error.message)], context.now())
