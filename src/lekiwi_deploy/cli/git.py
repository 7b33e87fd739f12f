"""What the user's git knows, asked without running anything that a repository's configuration names."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.errors import Failed

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class Head:
    """What is checked out. `dirty`: there are changes that no commit holds. `described`: nearest tag, commits since."""

    commit: str
    branch: str | None
    author: str
    message: str
    dirty: bool
    described: tuple[str, int] | None


def ask(folder: Path, *arguments: str) -> str | None:
    """What `git ARGUMENTS` says in `folder`, None when it fails or there is no git."""
    try:
        ran = subprocess.run(
            ["git", *_SAFE, *arguments], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return None
    return ran.stdout.strip("\n") if ran.returncode == 0 else None


def run(folder: Path, *arguments: str) -> str:
    """As `ask`; raises `Failed` with what git said."""
    try:
        ran = subprocess.run(
            ["git", *_SAFE, *arguments], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise Failed(f"git cannot be run: {error.strerror}") from error
    if ran.returncode:
        raise Failed(f"git {arguments[0]} failed: {ran.stderr.strip() or ran.returncode}")
    return ran.stdout.strip("\n")


def top(folder: Path) -> Path | None:
    """The checkout that `folder` lies in."""
    found = ask(folder, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def head(folder: Path) -> Head | None:
    """What is checked out in `folder`, None without a repository or a commit."""
    shown = ask(folder, "log", "-1", "--no-show-signature", "--format=%H%x00%an%x00%s")
    if not shown:
        return None
    commit, author, message = shown.split("\0")
    described = ask(folder, "describe", "--tags", "--long", "--match=v[0-9]*", "--match=[0-9]*", "HEAD")
    tag: tuple[str, int] | None = None
    if described and len(parts := described.rsplit("-", 2)) == 3 and parts[1].isdigit():
        tag = (parts[0], int(parts[1]))
    return Head(
        commit=commit,
        branch=ask(folder, "symbolic-ref", "--quiet", "--short", "HEAD"),
        author=author,
        message=message,
        dirty=bool(ask(folder, "status", "--porcelain", "--", ".")),
        described=tag,
    )


def remote_url(folder: Path, name: str) -> str | None:
    """Where the remote `name` points."""
    return ask(folder, "config", "--get", f"remote.{name}.url")
