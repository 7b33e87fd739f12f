"""The bare repositories below DIR/git, and git itself: how it is run and configured. Configuration is passed with every command, so
that it is the present version's, whatever a repository's own file says.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from lekiwi_deploy.content.durable import make_durable, sync_path, write_durably
from lekiwi_deploy.errors import Failed, Unavailable
from lekiwi_deploy.server.git import hook
from lekiwi_deploy.wire.ids import ProjectName

MAX_PUSH = 2 << 30
"""Bytes of one push."""

MAX_BLOB = 1 << 20
"""Bytes of a file that is looked at before a build."""

_SETTINGS = (
    ("safe.directory", "*"),
    ("http.receivepack", "true"),
    ("http.getanyfile", "false"),
    ("receive.fsckObjects", "true"),
    ("receive.fsck.badTimezone", "ignore"),  # harmless, and in the history of well-known repositories
    ("receive.fsck.missingSpaceBeforeDate", "ignore"),
    ("receive.fsck.zeroPaddedFilemode", "ignore"),
    ("receive.maxInputSize", str(MAX_PUSH)),
    ("receive.advertisePushOptions", "true"),
    ("receive.denyDeleteCurrent", "refuse"),
    ("receive.autogc", "true"),
    ("gc.pruneExpire", "90.days.ago"),
    ("core.fsync", "committed,loose-object"),  # what a push was told is stored survives a power cut
    ("core.fsyncMethod", "batch"),
    ("core.fsmonitor", "false"),
    ("core.logAllRefUpdates", "true"),
    ("core.attributesFile", os.devnull),
    ("protocol.version", "2"),
    ("uploadpack.allowFilter", "true"),
)


_WRITING = threading.Lock()


class GitFailed(Failed):
    """git refused; `message` is what it said."""


def repository_path(data: Path, project: str) -> Path:
    """Where the repository of `project` is, or would be."""
    return data / "git" / f"{project}.git"


def hooks_path(data: Path) -> Path:
    """The folder with our hooks, shared by all repositories."""
    return data / "hooks"


def git_environment(data: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All variables that a git process gets: nothing of ours or of this machine's configuration but what it needs."""
    settings = (*_SETTINGS, ("core.hooksPath", str(hooks_path(data))))
    env = {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": str(data / "git"),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    return env | dict(extra or {})


async def git(
    data: Path, repository: Path, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> bytes:
    """Runs git in `repository` and gives what it writes. Raises `GitFailed`."""
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "--git-dir", str(repository), *arguments,
            env=git_environment(data, env),
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unavailable("git is not installed on the server", next=("apt install git",)) from error
    out, errors = await process.communicate(stdin)
    if process.returncode != 0:
        said = " ".join(errors.decode(errors="replace").split())
        raise GitFailed(f"git {arguments[0]}: {said[:300] or f'exit {process.returncode}'}")
    return out


async def ensure_repository(data: Path, project: ProjectName) -> Path:
    """The repository of an existing project, made when it is not there yet, and the hooks in their present form."""
    path = repository_path(data, project)
    await asyncio.to_thread(_write_hooks, data)
    if not (path / "HEAD").exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{project}.{secrets.token_hex(6)}.new")
        await git(data, temporary, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(temporary))
        await asyncio.to_thread(make_durable, [str(each) for each in temporary.rglob("*")], within=temporary)
        try:
            temporary.rename(path)
            await asyncio.to_thread(sync_path, path.parent)
        except OSError:  # made by a request at the same time
            shutil.rmtree(temporary, ignore_errors=True)
    return path


def _write_hooks(data: Path) -> None:
    folder = hooks_path(data)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _WRITING:
        for name in ("pre-receive", "post-receive"):
            command: Sequence[str] = (sys.executable, "-I", "-S", str(Path(hook.__file__).resolve()), name)
            wanted = f"#!/bin/sh\nexec {shlex.join(command)}\n".encode()
            path = folder / name
            if not path.exists() or path.read_bytes() != wanted:
                write_durably(path, wanted, mode=0o755)


def default_branch(repository: Path) -> str:
    """The branch that HEAD names, whether it exists or not."""
    return (repository / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")


async def tips(data: Path, repository: Path, prefix: str = "refs/heads/") -> dict[str, str]:
    """Ref -> commit, of all refs below `prefix`."""
    out = await git(data, repository, "for-each-ref", "--format=%(objectname) %(refname)", prefix)
    found = (line.split(" ", 1) for line in out.decode(errors="replace").splitlines() if " " in line)
    return {ref: commit for commit, ref in found}


async def blobs(
    data: Path, repository: Path, commit: str, *paths: str, env: Mapping[str, str] | None = None
) -> list[bytes | None]:
    """The content of files at `commit`, in the order of `paths`; None where there is no such file, or it is larger than `MAX_BLOB`."""
    asked = "".join(f"{commit}:{path}\n" for path in paths).encode()
    sizes = (await git(data, repository, "cat-file", "--batch-check", env=env, stdin=asked)).splitlines()
    wanted = [
        len(size.split()) == 3 and size.split()[1] == b"blob" and int(size.split()[2]) <= MAX_BLOB for size in sizes
    ]
    if not any(wanted):
        return [None for _ in paths]
    names = b"".join(size.split()[0] + b"\n" for size, want in zip(sizes, wanted, strict=True) if want)
    out = await git(data, repository, "cat-file", "--batch", env=env, stdin=names)
    found: list[bytes | None] = []
    for want in wanted:
        if not want:
            found.append(None)
            continue
        header, _, out = out.partition(b"\n")
        length = int(header.split()[2])
        found.append(out[:length])
        out = out[length + 1 :]
    return found
