"""The first half of `lekiwi deploy`: read the folder, send what the server lacks, say what git knows of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lekiwi_deploy.cli import git
from lekiwi_deploy.cli.project import FOLDER
from lekiwi_deploy.cli.region import Lines, Region, bar, spin
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural, size, span
from lekiwi_deploy.client.uploads import upload
from lekiwi_deploy.content.hash_cache import HashCache
from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.content.tree import read_tree
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.api import NewDeployment
from lekiwi_deploy.wire.ids import UploadId
from lekiwi_deploy.wire.manifest import FileEntry


def packed(run: Run, project: str, path: Path, exclude: tuple[str, ...], asked: NewDeployment) -> NewDeployment:
    """`asked`, with the folder uploaded and what git knows filled in. Raises `BadInput` for a folder that cannot be deployed."""
    if not path.is_dir():
        raise BadInput(f"{path} is no folder: deploy a folder, or a pushed ref with --ref")
    files = _read(run, path, exclude)
    if not files:
        raise BadInput(f"there is nothing to deploy in {path.resolve()}: every file in it is ignored or excluded")
    upload_id = _send(run, project, path, files)
    asked = msgspec.structs.replace(asked, upload=upload_id)
    head = git.head(path)
    if head is None:
        return asked
    meta = {**({"dirty": "true"} if head.dirty else {}), **asked.meta}
    if head.dirty:
        run.out.say("   with changes that are not committed")
    return msgspec.structs.replace(
        asked,
        commit=head.commit,
        branch=head.branch,
        author=head.author,
        message=asked.message or head.message,
        version=asked.version or _version(head),
        meta=meta,
    )


def _version(head: git.Head) -> str | None:
    """As a push of this commit would be called, and `-dirty` when there is more than the commit. None: the server sees."""
    if head.described is None:
        return None
    tag, since = head.described
    version = tag if since == 0 else f"{tag}-{since}-g{head.commit[:7]}"
    return f"{version}-dirty" if head.dirty else version


def _read(run: Run, path: Path, exclude: tuple[str, ...]) -> tuple[FileEntry, ...]:
    count = total = 0

    def seen(entry: FileEntry) -> None:
        nonlocal count, total
        count, total = count + 1, total + entry.size

    def render(seconds: float) -> Lines:
        return [(f"📦 Creating build... {plural(count, 'file')}, {size(total)} {spin(seconds)}",)]

    kept = path / FOLDER / "hashes"
    cache = HashCache.load(kept) if kept.parent.is_dir() else HashCache()
    with _timed(run, render, lambda: f"📦 Creating build... done, {plural(count, 'file')}, {size(total)}"):
        files = read_tree(path, ignore=IgnoreRules(exclude), cache=cache, seen=seen)
    if kept.parent.is_dir():
        cache.save(kept)
    return files


def _send(run: Run, project: str, path: Path, files: tuple[FileEntry, ...]) -> UploadId:
    done, total, known = 0, 0, True

    def sent(now: int, of: int) -> None:
        nonlocal done, total, known
        done, total = now, of
        known = known and now == of == 1

    def render(seconds: float) -> Lines:
        if total <= 1:
            return [(f"🔄 Uploading... {spin(seconds)}",)]
        return [(f"🔄 Uploading... {bar(done, total)} {done * 100 // total:3}%  {size(done)} of {size(total)}",)]

    with _timed(run, render, lambda: "🔄 Uploading... done" + (", nothing new" if known else "")):
        return upload(run.api, project, path, files, sent)


@contextmanager
def _timed(run: Run, render: Callable[[float], Lines], done: Callable[[], str]) -> Iterator[None]:
    """Shows `render` while it lasts, then `done()` and the seconds it took."""
    began = time.monotonic()
    with Region(run.out, render):
        yield
    run.out.say(f"{done()} ({span(time.monotonic() - began)})")
