"""post-receive: the refs have moved; the reconciler is nudged, and what it makes of that is followed on the pusher's terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet.previews import Ended
from lekiwi_deploy.server import previewing
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import follow
from lekiwi_deploy.server.git.push import HookCall, Say, first_branch
from lekiwi_deploy.server.git.pushed import Update, read_options, read_updates
from lekiwi_deploy.server.git.reconciler import Waits, go_live
from lekiwi_deploy.server.git.repositories import default_branch, git, repository_path, tips
from lekiwi_deploy.server.git.transcript import Release, Transcript, indented, warned
from lekiwi_deploy.server.lending import ended_text
from lekiwi_deploy.server.rollouts import source_of
from lekiwi_deploy.server.seeding import seed_environments
from lekiwi_deploy.server.store import deployments, refs, rollouts
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import ProjectName, checked_name
from lekiwi_deploy.wire.progress import Built, Closed, RolloutFinished, RolloutWaits


async def follow_push(context: Context, call: HookCall, say: Say) -> int:
    """Always 0: git takes no other answer once a ref has moved."""
    project = ProjectName(checked_name("a project", call.env.get("LEKIWI_PROJECT", "")))
    updates, options = read_updates(call.updates), read_options(call.options)
    now = await tips(context.config.data, repository_path(context.config.data, project))
    await _set_head(context, project, updates, now)
    await seed_environments(context, project, now)
    by = call.env.get("LEKIWI_PUSH_BY", "unknown")
    await _end_previews(context, project, [update for update in updates if update.ref not in now], by, say)
    rows: list[DeploymentRow] = []
    async with context.database.transaction() as tx:
        for update in updates:
            if not update.is_delete:
                found = await refs.of_push(tx, project, update.ref, update.new)
                rows += [found] if found else []
        await tx.notify("refs", project)
    waiting = [(row, await _started(context, row)) for row in rows]  # all of them, before the first is followed
    for row, waits in waiting:
        what = f"{row.id} {row.version}  {source_of(row)} → {row.environment}"
        if waits is not None and waits.robot is not None:
            await say(warned("Built", f"{what}  {waits.text}"))
            await say(
                indented(
                    f"it goes live by itself: lekiwi why {row.id}; or drop it: lekiwi preview rm {row.environment}"
                )
            )
        elif waits is not None:
            await say(warned("Built", f"{what}, but it does not go live: {waits.text}"))
        elif not options.wait:
            await say(
                indented(
                    f"{row.id} {row.version} goes to {row.environment}; follow it with lekiwi inspect {row.id} --wait"
                )
            )
        else:
            await _follow(context, row, say)
    return 0


async def _started(context: Context, row: DeploymentRow) -> Waits | None:
    """What it waits for, after everything was done that can be: the reconciler would do the same a moment later."""
    try:
        async with context.database.transaction() as tx:
            now = await deployments.read(tx, row.id)
            if now is None or now.rollout is not None or not now.roll_out:
                return None
            return await go_live(tx, context, now)
    except LekiwiError as error:
        return Waits(error.message)


async def _end_previews(context: Context, project: ProjectName, updates: Sequence[Update], by: str, say: Say) -> None:
    """A preview ends with its branch. `updates`: of refs that are gone."""
    for update in updates:
        if not update.is_delete or not update.ref.startswith("refs/heads/"):
            continue
        async with context.database.transaction() as tx:
            row = await previewing.of_branch(tx, project, update.short)
            if row is None:
                continue
            returned = await previewing.end(tx, context, project, row.environment, Ended.BRANCH, by)
        await say(indented(ended_text(row.environment, Ended.BRANCH, returned)))


async def _follow(context: Context, row: DeploymentRow, say: Say) -> None:
    transcript = Transcript(Release(source_of(row)))
    built = ended = False
    async for entry in follow(context, row.id):
        if built:
            for line in transcript.lines(entry):
                await say(line)
        built = built or isinstance(entry.body, Built)
        ended = isinstance(entry.body, Closed | RolloutFinished)
        if isinstance(entry.body, RolloutWaits) and await parked(context, entry.stream, entry.body):
            await say(indented(f"let it go on: lekiwi rollout {_lets_go(entry.body)} {entry.stream}"))
            await say(indented(f"follow it: lekiwi inspect {row.id} --wait"))
            return
    if not ended:
        await say(
            warned("", f"the server is stopping; the rollout goes on when it is back: lekiwi inspect {row.id} --wait")
        )


def _lets_go(waits: RolloutWaits) -> str:
    return "resume" if waits.what == "paused" else "approve"


async def parked(context: Context, stream: str, waits: RolloutWaits) -> bool:
    """Whether the rollout waits for a person, still: nobody should sit and watch that."""
    if not waits.for_a_person:
        return False
    async with context.database.transaction() as tx:
        row = await rollouts.read(tx, stream)
    return row is not None and row.status == "rolling" and row.course.told == f"{waits.at} {waits.what}"


async def _set_head(
    context: Context, project: ProjectName, updates: tuple[Update, ...], now: Mapping[str, str]
) -> None:
    """HEAD follows the default branch of the first push."""
    data = context.config.data
    repository = repository_path(data, project)
    first = first_branch(updates)
    if first is not None and f"refs/heads/{default_branch(repository)}" not in now:
        await git(data, repository, "symbolic-ref", "HEAD", f"refs/heads/{first}")
