"""Where a deployment's files come from, other than a push: an upload, or a name in the project's repository."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from lekiwi_deploy.content.entries import check_entries
from lekiwi_deploy.content.paths import check_link
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.server.builds.publish import fetch_object
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.describe import describe, resolve_commit
from lekiwi_deploy.server.git.export import export
from lekiwi_deploy.server.git.repositories import repository_path
from lekiwi_deploy.server.git.versions import project_version, version_of
from lekiwi_deploy.server.store import builds, uploads
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

Prepare = Callable[[Path, Report], Awaitable[None]]
NO_VERSION = "0.0.0"
"""What a deployment is called before anybody knows better."""
FETCHES = 16
"""Objects fetched at the same time."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare_upload(context: Context, row: DeploymentRow) -> Prepare:
    """Lays out what `lekiwi deploy` sent."""

    async def prepare(tree: Path, report: Report) -> None:
        async with context.database.transaction() as tx:
            upload = await uploads.read(tx, row.upload or "")
        if upload is None or upload.project != row.project:
            raise NotFound(f"the upload {row.upload} is gone; deploy again", next=("lekiwi deploy",))
        check_entries(upload.files)
        slots = asyncio.Semaphore(FETCHES)

        async def lay(entry: FileEntry) -> None:
            async with slots:
                content = await fetch_object(context.objects, entry.digest)
                await asyncio.to_thread(_write, tree, entry, content)

        async with asyncio.TaskGroup() as all_files:
            for entry in upload.files:
                if entry.kind is not FileKind.SYMLINK:
                    all_files.create_task(lay(entry))
        for entry in upload.files:  # last, so that nothing is written through one
            if entry.kind is FileKind.SYMLINK:
                target = (await fetch_object(context.objects, entry.digest)).decode()
                check_link(entry.path, target)
                (tree / entry.path).parent.mkdir(parents=True, exist_ok=True)
                (tree / entry.path).symlink_to(target)
        if row.version == NO_VERSION:
            files = [tree / name for name in ("pyproject.toml", "package.json")]
            stated = project_version(*(path.read_bytes() if path.is_file() else None for path in files))
            if stated is not None or row.commit_sha:
                version = version_of(row.commit_sha or "", tags_here=(), last_tag=None, project_version=stated)
                async with context.database.transaction() as tx:
                    await builds.set_version(tx, row.id, version)

    return prepare


def prepare_ref(context: Context, row: DeploymentRow) -> Prepare:
    """Exports a branch, tag or commit of the project's repository, and notes what it turned out to be."""

    async def prepare(tree: Path, report: Report) -> None:
        data = context.config.data
        repository = repository_path(data, row.project)
        if not repository.exists():
            raise NotFound(f"nothing was pushed to {row.project} yet", next=("git push",))
        commit, ref = await resolve_commit(data, repository, row.commit_sha or row.ref or "")
        known = await describe(data, repository, commit, ref=ref)
        async with context.database.transaction() as tx:
            await builds.set_source(
                tx,
                row.id,
                commit=commit,
                version=known.version,
                branch=known.branch,
                ref=ref,
                author=known.author,
                message=known.message,
            )
        for note in await export(data, repository, commit, tree):
            await report.note(note, warning=True)

    return prepare


def _write(tree: Path, entry: FileEntry, content: bytes) -> None:
    path = tree / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if entry.kind is FileKind.EXECUTABLE else 0o644
    with os.fdopen(os.open(path, _CREATE, mode), "wb") as file:
        file.write(content)
