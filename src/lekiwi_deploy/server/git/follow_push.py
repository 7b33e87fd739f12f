"""post-receive: the refs have moved; the reconciler is nudged, and what it makes of that is followed on the pusher's terminal."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.follow import follow
from lekiwi_deploy.server.git.push import HookCall, Say, first_branch
from lekiwi_deploy.server.git.pushed import Update, read_options, read_updates
from lekiwi_deploy.server.git.reconciler import held
from lekiwi_deploy.server.git.repositories import default_branch, git, repository_path, tips
from lekiwi_deploy.server.git.transcript import Release, Transcript, indented, warned
from lekiwi_deploy.server.rollouts import source_of
from lekiwi_deploy.server.seeding import seed_environments
from lekiwi_deploy.server.store import refs, rollouts
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
    rows: list[DeploymentRow] = []
    async with context.database.transaction() as tx:
        for update in updates:
            if not update.is_delete:
                found = await refs.of_push(tx, project, update.ref, update.new)
                rows += [found] if found else []
        await tx.notify("refs", project)
    for row in rows:
        async with context.database.transaction() as tx:
            why = await held(tx, row)
        if why is not None:
            await say(warned("Built", f"{row.id} {row.version}, but it does not go live: {why}"))
        elif not options.wait:
            await say(
                indented(
                    f"{row.id} {row.version} goes to {row.environment}; follow it with lekiwi inspect {row.id} --wait"
                )
            )
        else:
            await _follow(context, row, say)
    return 0


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
