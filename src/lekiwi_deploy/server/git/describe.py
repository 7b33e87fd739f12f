"""What a commit is called and said to be: reads git, `versions.py` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.server.git.repositories import GitFailed, blobs, git
from lekiwi_deploy.server.git.versions import is_version_tag, project_version, version_of

MAX_AUTHOR = 200
MAX_MESSAGE = 2_000


@dataclass(frozen=True, slots=True)
class Described:
    """A commit, 40 hex, with texts that are safe to store and print. `ref` None: it was not named by a branch."""

    commit: str
    version: str
    author: str
    message: str
    ref: str | None = None

    @property
    def branch(self) -> str | None:
        """The branch that named it."""
        return self.ref.removeprefix("refs/heads/") if self.ref else None


async def resolve_commit(data: Path, repository: Path, name: str) -> tuple[str, str | None]:
    """The commit that a branch, tag or (abbreviated) commit names, and the branch's ref if it was one. Raises `NotFound`."""
    if name and not name.startswith("-") and "\0" not in name and len(name) <= 250:
        short = name.removeprefix("refs/heads/").removeprefix("refs/tags/")
        for ref in (f"refs/heads/{short}", f"refs/tags/{short}", name):
            try:
                out = await git(
                    data, repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
                )
            except GitFailed:
                continue
            return out.decode().strip(), ref if ref.startswith("refs/heads/") else None
    raise NotFound(f"the repository has no branch, tag or commit {name[:80]!r}", next=("git push", "git push --tags"))


async def describe(
    data: Path,
    repository: Path,
    commit: str,
    *,
    ref: str | None = None,
    pushed_tags: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Described:
    """What is known of `commit`. `pushed_tags`: tags (name -> object) of the same push, which are not in the repository yet."""
    log = git(data, repository, "log", "-1", "--format=%an%x00%B", "--end-of-options", commit, env=env)
    files = blobs(data, repository, commit, "pyproject.toml", "package.json", env=env)
    out, (here, last), (pyproject, package) = await asyncio.gather(
        log, _tags(data, repository, commit, pushed_tags or {}, env), files
    )
    author, _, message = out.decode("utf-8", "replace").partition("\0")
    stated = project_version(pyproject, package) if not here and last is None else None
    return Described(
        commit=commit,
        version=version_of(commit, tags_here=here, last_tag=last, project_version=stated),
        author=_text(author, MAX_AUTHOR) or "unknown",
        message=_text(message, MAX_MESSAGE),
        ref=ref,
    )


async def _tags(
    data: Path, repository: Path, commit: str, pushed: Mapping[str, str], env: Mapping[str, str] | None
) -> tuple[list[str], tuple[str, int] | None]:
    """Version tags on the commit, else the nearest one behind it with its distance."""
    out = await git(data, repository, "tag", "--points-at", commit, env=env)
    here = [tag for tag in out.decode("utf-8", "replace").split() if is_version_tag(tag)]
    nearest: tuple[int, str] | None = None
    for tag, target in pushed.items():
        if not is_version_tag(tag):
            continue
        try:
            peeled = (
                (await git(data, repository, "rev-parse", "--verify", f"{target}^{{commit}}", env=env)).decode().strip()
            )
            if peeled == commit:
                here.append(tag)
                continue
            await git(data, repository, "merge-base", "--is-ancestor", peeled, commit, env=env)
            count = int(await git(data, repository, "rev-list", "--count", f"{peeled}..{commit}", env=env))
        except GitFailed:
            continue
        nearest = min(nearest, (count, tag)) if nearest else (count, tag)
    if here:
        return here, None
    try:
        patterns = ("--match", "v[0-9]*", "--match", "[0-9]*")
        out = await git(data, repository, "describe", "--tags", "--long", "--abbrev=7", *patterns, commit, env=env)
        tag, distance, _ = out.decode("utf-8", "replace").strip().rsplit("-", 2)
        if is_version_tag(tag):
            nearest = min(nearest, (int(distance), tag)) if nearest else (int(distance), tag)
    except (GitFailed, ValueError):
        pass
    return here, (nearest[1], nearest[0]) if nearest else None


def _text(text: str, limit: int) -> str:
    """Printable, on lines of its own, without what moves a cursor."""
    kept = "".join(c for c in text.strip() if c.isprintable() or c == "\n")
    return kept[:limit]
