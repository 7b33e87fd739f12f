"""The ref reconciler: what refs point at and was built, but is not live, goes live.

Level-triggered: it compares the tips of refs with the deployments that wait, whoever nudged it. So a server that dies between a push's
verdict and its rollout loses nothing, and the end of a freeze lets go what waited.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server import membership, previewing
from lekiwi_deploy.server.approving import awaits
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import repository_path, tips
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.seeding import seed_environments
from lekiwi_deploy.server.store import builds, progress, projects, refs
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.progress import Closed
from lekiwi_deploy.wire.reasons import AwaitsRobot, sentence

LOOK_S = 2.0
MOVES_WITHIN = timedelta(minutes=10)
"""A ref that does not point at what was built for it after this time never will: the push came to nothing, or another followed."""
QUEUES = "waits for a robot of "
ABANDONED = "the server was restarted during the build; push again"

_log = logging.getLogger("lekiwi.git")


async def run(context: Context) -> None:
    """Until cancelled."""
    with context.nudges.subscribe("refs") as hints:
        while True:
            await fail_abandoned(context)
            async with context.database.transaction() as tx:
                waiting = await refs.projects_with_waiting(tx)
            for project in waiting:
                try:
                    await reconcile(context, project)
                except LekiwiError as error:
                    _log.warning("refs of %s: %s", project, error.message)
            await hints.wait(LOOK_S)


async def fail_abandoned(context: Context) -> None:
    """Pushes whose builder is gone have failed: their hook is dead, so their ref cannot move."""
    now = context.now()
    async with context.database.transaction() as tx:
        for id in await builds.abandoned_pushes(tx, now):
            if await builds.fail(tx, id, ABANDONED, now):
                await progress.append(tx, id, [Closed("failed", ABANDONED)], now, close=True)


async def reconcile(context: Context, project: ProjectName) -> None:
    """Starts the rollout of what waits in `project` and may go live; gives up what never will."""
    repository = repository_path(context.config.data, project)
    if not repository.exists():
        return
    refs_now = await tips(context.config.data, repository, "refs/")
    async with context.database.transaction() as tx:
        waiting = await refs.waiting(tx, project)
    ready: dict[str, DeploymentRow] = {}
    for row in waiting:  # newest first
        if row.ref is None or refs_now.get(row.ref) != row.commit_sha:
            if row.finished_at is not None and context.now() - row.finished_at > MOVES_WITHIN:
                async with context.database.transaction() as tx:
                    await refs.give_up(tx, row.id)
        elif row.environment is not None:
            ready.setdefault(row.environment, row)
    if not ready:
        return
    await seed_environments(context, project, refs_now)
    for row in ready.values():
        try:
            await _go_live(context, row)
        except LekiwiError as error:  # the others go on
            _log.warning("%s of %s does not go live: %s", row.id, project, error.message)


async def _go_live(context: Context, row: DeploymentRow) -> None:
    async with context.database.transaction() as tx:
        if await previewing.in_queue(tx, row):
            return  # it goes live with its robot: until then there is nothing to decide, nor to lock
        waits = await go_live(tx, context, row)
        if waits is not None:
            await _say_once(tx, context, row, waits)


async def go_live(tx: Transaction, context: Context, row: DeploymentRow) -> Waits | None:
    """Lets a built push go live, unless something keeps it: what it waits for then. None: its rollout has started, or it never will."""
    assert row.environment is not None
    preview = await previewing.is_preview(tx, row.project, row.environment)
    if preview:
        await membership.begin(tx, row.project)
    if await refs.went_further(tx, row.project, row.environment, row.created_at):
        await refs.give_up(tx, row.id)
        return None
    if not await projects.environments(tx, row.project, row.environment):
        await refs.give_up(tx, row.id)
        return Waits(f"{row.environment} was removed while it was built: push again")
    why = await held(tx, context, row)
    if why is not None:
        return Waits(why)
    if preview:
        robot = await previewing.push_asks(tx, context, row)
        return Waits(sentence(robot), robot) if robot is not None else None
    await start_rollout(
        tx,
        context,
        deployment_id=row.id,
        environment=row.environment,
        kind="deploy",
        by=row.created_by,
        reason=(row.message or "").split("\n", 1)[0],
    )
    return None


@dataclass(frozen=True, slots=True)
class Waits:
    """What keeps a built push from going live, in one line; `robot`: it is a preview that waits for one."""

    text: str
    robot: AwaitsRobot | None = None


async def held(tx: Transaction, context: Context, row: DeploymentRow) -> str | None:
    """Why a built push does not go live by itself; None when nothing keeps it. Asks people whom its environment's policy wants to be asked."""
    assert row.environment is not None
    environment = await projects.environment(tx, row.project, row.environment)
    if environment.freeze is not None:
        why = f" ({environment.freeze.why})" if environment.freeze.why else ""
        return f"{row.environment} is frozen by {environment.freeze.by}{why}; lekiwi unfreeze -e {row.environment} lets it go"
    return await awaits(tx, context, row)


async def _say_once(tx: Transaction, context: Context, row: DeploymentRow, waits: Waits) -> None:
    """A place in a queue changes all the time: that it queues is said once."""
    for entry in await progress.read(tx, row.id, 0, 10_000):
        body = entry.body
        if isinstance(body, Closed) and (body.text == waits.text or (waits.robot and body.text.startswith(QUEUES))):
            return
    await progress.append(tx, row.id, [Closed("built", waits.text)], context.now())
