"""pre-receive: a push is planned, each ref that deploys is built and tested, and the push accepted only if all of them stand.

Nothing goes live here: the ref reconciler does that, once the ref really points at what was built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.errors import BadInput, Conflict, LekiwiError, NotFound
from lekiwi_deploy.fleet.branches import Previews, Routes
from lekiwi_deploy.server import previewing
from lekiwi_deploy.server.builds.builder import CLAIM, build_deployment
from lekiwi_deploy.server.builds.project_file import FILE, read_project_file
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git import mapping
from lekiwi_deploy.server.git.describe import Described, describe
from lekiwi_deploy.server.git.export import export
from lekiwi_deploy.server.git.pushed import NOTHING, Options, Update, plan_push, read_options, read_updates, tags_of
from lekiwi_deploy.server.git.repositories import GitFailed, blobs, default_branch, git, repository_path, tips
from lekiwi_deploy.server.git.transcript import Release, Transcript, indented, warned
from lekiwi_deploy.server.store import audit, deployments, progress, projects, refs
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, base62, checked_name
from lekiwi_deploy.wire.progress import Built, Closed

Say = Callable[[str], Awaitable[None]]
UNCHANGED = "=====> Not deployed. Nothing changed: the robots keep running what they run"
MAX_FORCED = 50
"""Refs of one push that are looked at for whether they are forced, which only a remark depends on."""
_QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


@dataclass(frozen=True, slots=True)
class HookCall:
    """What a hook sends: git's stdin, the push options, some of its variables, the folder it runs in."""

    updates: str
    options: tuple[str, ...]
    env: dict[str, str]
    folder: str


async def receive_push(context: Context, call: HookCall, say: Say) -> int:
    """The exit code of pre-receive; 0 accepts the push. What goes wrong is said, or raised as a `LekiwiError`."""
    data = context.config.data
    project = ProjectName(checked_name("a project", call.env.get("LEKIWI_PROJECT", "")))
    by = call.env.get("LEKIWI_PUSH_BY", "unknown")
    repository = repository_path(data, project)
    env = _quarantine(call, repository)
    updates, options = read_updates(call.updates), read_options(call.options)
    now = await tips(data, repository)
    head = default_branch(repository) if now else first_branch(updates) or default_branch(repository)
    routes, is_forced = await asyncio.gather(
        _routes(context, project, repository, head, updates, env),
        asyncio.gather(*(_is_forced(data, repository, update, env) for update in updates[:MAX_FORCED])),
    )
    forced = frozenset(update.ref for update, is_it in zip(updates, is_forced, strict=False) if is_it)
    plan = plan_push(updates, routes, options, default_branch=head, forced=forced)
    if plan.refusals:
        for refusal in plan.refusals:
            await say(warned("", refusal))
        await say(UNCHANGED)
        return 1
    for line in plan.lines:
        await say(indented(line))
    tags = tags_of(updates)
    for update, environment in plan.builds:
        if (heading := plan.heading(update, environment)) is not None:
            await say(heading)
        described = await describe(data, repository, update.new, ref=update.ref, pushed_tags=tags, env=env)
        preview = plan.previews.get(environment)
        row = await _insert(context, project, update, environment, preview, described, options, by)
        if not await _build(context, row, repository, env, say):
            await say(UNCHANGED)
            return 1
    return 0


def _quarantine(call: HookCall, repository: Path) -> dict[str, str]:
    """The variables under which git finds the pushed objects, which are not part of the repository yet."""
    env: dict[str, str] = {}
    for key in _QUARANTINE:
        if key in call.env:
            paths = [(Path(call.folder) / part).resolve() for part in call.env[key].split(":")]
            if not all(path.is_relative_to(repository.resolve() / "objects") for path in paths):
                raise BadInput("the hook names a folder outside its repository")
            env[key] = ":".join(map(str, paths))
    return env


def first_branch(updates: tuple[Update, ...]) -> str | None:
    """Which branch of a first push becomes the default one."""
    branches = [update.short for update in updates if update.ref.startswith("refs/heads/") and not update.is_delete]
    return next((name for name in ("main", "master") if name in branches), branches[0] if branches else None)


async def _routes(
    context: Context,
    project: ProjectName,
    repository: Path,
    head: str,
    updates: tuple[Update, ...],
    env: Mapping[str, str],
) -> Routes:
    """Where branches go: as the server has it, or, when the default branch is pushed, as its lekiwi.yaml will make it."""
    async with context.database.transaction() as tx:
        routes, rows = await mapping.stored(tx, project)
    pushed = next(
        (update.new for update in updates if update.ref == f"refs/heads/{head}" and not update.is_delete), None
    )
    if pushed is not None:
        (content,) = await blobs(context.config.data, repository, pushed, FILE, env=env)
        routes = mapping.as_written(routes, rows, read_project_file(content or b""))
    return routes.with_production()


async def _is_forced(data: Path, repository: Path, update: Update, env: Mapping[str, str]) -> bool:
    if NOTHING in (update.old, update.new) or not update.ref.startswith("refs/heads/"):
        return False
    try:
        await git(data, repository, "merge-base", "--is-ancestor", update.old, update.new, env=env)
    except GitFailed:
        return True
    return False


async def _insert(
    context: Context,
    project: ProjectName,
    update: Update,
    environment: EnvironmentName,
    preview: Previews | None,
    described: Described,
    options: Options,
    by: str,
) -> DeploymentRow:
    """The new deployment, claimed by us; while it is, nobody else pushes this ref. Raises `Conflict` naming who does."""
    now = context.now()
    row = DeploymentRow(
        id=DeploymentId(f"dep_{base62(context.random(16), 8)}"),
        project=project,
        environment=environment,
        version=described.version,
        commit_sha=described.commit,
        branch=described.branch,
        ref=update.ref,
        author=described.author,
        message=options.message or described.message,
        created_by=by,
        created_at=now,
        source="push",
        status="building",
        claimed_by=context.replica,
        claim_until=now + CLAIM,
    )
    async with context.database.transaction() as tx:
        await refs.lock(tx, project, update.ref)
        holder = await refs.holder(tx, project, update.ref, now)
        if holder is not None:
            since = f"{(now - holder.created_at).total_seconds():.0f} s"
            raise Conflict(
                f"{update.short} is being pushed by {holder.created_by} since {since} ({holder.id}): push again when that is done",
                next=(f"lekiwi inspect {holder.id}",),
            )
        if preview is not None:
            await previewing.prepare(tx, context, project, preview, by)
        else:
            await projects.ensure_environment(tx, project, environment, now)
        await deployments.insert(tx, row)
        what = {"environment": environment, "ref": update.ref, "branch": row.branch, "commit": row.commit_sha}
        await audit.record(tx, by, "deployment.create", f"project/{project}/{environment}/{row.id}", what)
    return row


async def _build(context: Context, row: DeploymentRow, repository: Path, env: Mapping[str, str], say: Say) -> bool:
    """Builds `row`, telling how it goes; whether it was built."""

    async def prepare(tree: Path, report: Report) -> None:
        assert row.commit_sha is not None
        for note in await export(context.config.data, repository, row.commit_sha, tree, env):
            await report.note(note, warning=True)

    telling = asyncio.create_task(tell_build(context, row, say))
    try:
        await build_deployment(context, row, prepare)
    except NotFound:
        raise
    except LekiwiError:
        await telling
        return False
    finally:
        if not telling.done():
            with_time = asyncio.wait({telling}, timeout=5)
            await with_time
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
    return True


async def tell_build(context: Context, row: DeploymentRow, say: Say) -> None:
    """Says the lines of a deployment's stream until it is built or closed."""
    transcript = Transcript(Release(""))
    after = 0
    with context.nudges.subscribe("progress", row.id) as hints:
        while True:
            async with context.database.transaction() as tx:
                entries = await progress.read(tx, row.id, after)
            for entry in entries:
                after = entry.seq
                for line in transcript.lines(entry):
                    await say(line)
                if isinstance(entry.body, Built | Closed):
                    return
            if not entries:
                await hints.wait(2.0)
