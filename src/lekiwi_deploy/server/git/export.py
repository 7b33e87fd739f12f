"""Writes a commit's files into a folder: blobs as they are stored, no filters, attributes, LFS or submodules.

git's own checkout is not used: what a repository says about itself must not run or change anything here.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lekiwi_deploy.content.entries import MAX_ENTRIES
from lekiwi_deploy.content.paths import BadEntry, check_link, check_path
from lekiwi_deploy.errors import TooLarge
from lekiwi_deploy.server.git.repositories import GitFailed, git, git_environment

MAX_TREE = 8 << 30
"""Bytes of all files of one commit."""

_LFS = b"version https://git-lfs"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Blob:
    mode: str
    name: str
    size: int
    path: str


async def export(
    data: Path, repository: Path, commit: str, target: Path, env: Mapping[str, str] | None = None
) -> list[str]:
    """Writes the files of `commit` below the empty folder `target`. Returns remarks, one line each, on what is not as git shows it.

    Raises `BadEntry` for paths and links that may not exist, `TooLarge`, `GitFailed`.
    """
    listing = await git(data, repository, "ls-tree", "-r", "-z", "-l", "--full-tree", commit, env=env)
    blobs, modules = _parse(listing)
    notes = [f"the submodule {path} is left out: submodules are not fetched" for path in modules]
    notes += await asyncio.to_thread(_write_all, data, repository, blobs, target, env)
    return notes


def _parse(listing: bytes) -> tuple[list[_Blob], list[str]]:
    blobs: list[_Blob] = []
    modules: list[str] = []
    total = 0
    for raw in listing.split(b"\0"):
        if not raw:
            continue
        head, _, name = raw.partition(b"\t")
        mode, kind, object_name, size = head.decode("ascii").split()
        try:
            path = name.decode()
        except UnicodeDecodeError:
            raise BadEntry(name.decode("utf-8", "backslashreplace"), "its name is not UTF-8") from None
        check_path(path)
        if kind == "commit":
            modules.append(path)
            continue
        blobs.append(_Blob(mode, object_name, int(size), path))
        total += int(size)
        if len(blobs) > MAX_ENTRIES:
            raise TooLarge(f"the commit has more than {MAX_ENTRIES} files")
        if total > MAX_TREE:
            raise TooLarge(f"the commit's files have more than {MAX_TREE >> 30} GiB")
    return blobs, modules


def _write_all(
    data: Path, repository: Path, blobs: list[_Blob], target: Path, env: Mapping[str, str] | None
) -> list[str]:
    process = subprocess.Popen(
        ["git", "--git-dir", str(repository), "cat-file", "--batch"],
        env=git_environment(data, env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    feeder = threading.Thread(target=_feed, args=(process.stdin, [blob.name for blob in blobs]), daemon=True)
    feeder.start()
    notes: list[str] = []
    links: list[tuple[str, str]] = []
    made: set[str] = set()
    try:
        for blob in blobs:
            content = _next(process.stdout, blob)
            if content.startswith(_LFS) and len(content) < 1_000:
                notes.append(f"{blob.path} is a Git LFS pointer: the content behind it is not fetched")
            if blob.path.endswith(".gitattributes") and b"filter=" in content and b"filter=lfs" not in content:
                notes.append(f"filters named in {blob.path} are not applied")
            if blob.mode == "120000":
                links.append((blob.path, content.decode("utf-8", "surrogateescape")))
                continue
            folder = target / os.path.dirname(blob.path)  # noqa: PTH120 - no Path for each of thousands of files
            if str(folder) not in made:
                folder.mkdir(parents=True, exist_ok=True)
                made.add(str(folder))
            mode = 0o755 if blob.mode == "100755" else 0o644
            with os.fdopen(os.open(target / blob.path, _CREATE, mode), "wb") as file:
                file.write(content)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        feeder.join()
    for path, link in links:  # last, so that nothing is written through one
        check_link(path, link)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).symlink_to(link)
    return notes


def _next(stream: IO[bytes], blob: _Blob) -> bytes:
    header = stream.readline().split()
    if len(header) != 3 or header[0].decode("ascii", "replace") != blob.name or header[1] != b"blob":
        raise GitFailed(f"git cannot read {blob.path}")
    content = stream.read(int(header[2]))
    if stream.read(1) != b"\n" or len(content) != int(header[2]):
        raise GitFailed(f"git cannot read {blob.path}")
    return content


def _feed(stream: IO[bytes], names: list[str]) -> None:
    try:
        for name in names:
            stream.write(name.encode() + b"\n")
        stream.close()
    except OSError:
        pass  # the reader gave up and says why
