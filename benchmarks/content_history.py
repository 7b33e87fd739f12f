"""Consecutive commits of a git clone, checked out one after the other as a developer would have them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

BRANCH = "refs/heads/benchmark"


class History:
    """The last `count` + 1 commits along first parents, oldest first. The clone itself is only read."""

    def __init__(self, clone: Path, folder: Path, count: int) -> None:
        listed = git(clone, "rev-list", "--first-parent", f"--max-count={count + 1}", "HEAD").split()
        self.commits = tuple(reversed(listed))
        if len(self.commits) < 2:
            raise SystemExit(f"{clone} has {len(self.commits)} commits: nothing to compare")
        self.origin = folder / "origin.git"
        """Where `git fetch` fetches from: its branch follows `steps`."""
        self.tree = folder / "source"
        """What is published: only files that a commit touches get a new modification time, as rsync likes it."""
        git(folder, "clone", "--quiet", "--bare", "--shared", str(clone.resolve()), str(self.origin))
        git(self.origin, "update-ref", BRANCH, self.commits[0])
        git(self.origin, "worktree", "add", "--quiet", "--detach", str(self.tree), self.commits[0])

    def steps(self) -> Iterator[str]:
        """Go on to the next commit, after the first one, which is there already."""
        for commit in self.commits[1:]:
            self.go_to(commit)
            yield commit

    def go_to(self, commit: str) -> None:
        """Check out `commit`, and let the branch name it."""
        git(self.tree, "checkout", "--quiet", "--detach", "--force", commit)
        git(self.origin, "update-ref", BRANCH, commit)


def git(folder: Path, *arguments: str) -> str:
    """What git answers in `folder`."""
    done = subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True)
    return done.stdout
