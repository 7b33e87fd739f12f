"""Keeps the build caches from growing for ever: what no build used for a while goes, the newest few of each project stay."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

UNUSED_S = 30 * 86_400.0
KEPT = 5
"""Installed trees of a project that stay however old they are."""


def prune(cache: Path, now_s: float) -> int:
    """Removes what was last used more than `UNUSED_S` before `now_s` (seconds since 1970) below `cache`; returns how many things."""
    removed = 0
    for project in _folders(cache / "projects"):
        trees = sorted(_folders(project / "installed"), key=_used, reverse=True)
        for tree in trees[KEPT:]:
            if now_s - _used(tree) > UNUSED_S:
                shutil.rmtree(tree, ignore_errors=True)
                removed += 1
        for kept in (*(project / "resolved").glob("*"), *(project / "pyc").glob("*/*/*")):
            if now_s - kept.stat().st_mtime > 3 * UNUSED_S:
                kept.unlink(missing_ok=True)
                removed += 1
        for left in project.glob("shared/new-*"):  # of a server that was killed
            if now_s - left.stat().st_mtime > 86_400:
                shutil.rmtree(left, ignore_errors=True)
                removed += 1
    return removed


def prune_now(cache: Path) -> int:
    """`prune` at this moment."""
    return prune(cache, time.time())


def _folders(path: Path) -> Iterator[Path]:
    return (each for each in path.glob("*") if each.is_dir() and not each.is_symlink())


def _used(tree: Path) -> float:
    marker = tree / "entries.json"
    return marker.stat().st_mtime if marker.exists() else 0.0
