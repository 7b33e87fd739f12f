"""What detection looks at: the paths of a project and the text of a few of its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

MAX_READ = 1 << 20
"""Bytes; a larger file tells detection nothing."""


@dataclass(frozen=True)
class Listing:
    """`paths`: files relative to the project, with `/`; `executables`: those of them that may be run; `read(path)` gives
    content, None when there is no such file or it is too large to matter."""

    paths: frozenset[str]
    executables: frozenset[str]
    read: Callable[[str], bytes | None] = field(compare=False)

    def has(self, *names: str) -> bool:
        """Whether any of `names` is a file of the project."""
        return any(name in self.paths for name in names)

    def text(self, path: str) -> str:
        """The content as text; empty when there is none."""
        return (self.read(path) or b"").decode("utf-8-sig", errors="replace")

    def below(self, folder: str) -> bool:
        """Whether `folder` holds any file."""
        return any(path.startswith(f"{folder}/") for path in self.paths)


def listing_of(files: dict[str, bytes], executables: Iterable[str] = ()) -> Listing:
    """A listing of files given as path -> content."""
    return Listing(frozenset(files), frozenset(executables), files.get)


def read_listing(root: Path) -> Listing:
    """The listing of the folder `root`; symbolic links are not followed."""
    paths: set[str] = set()
    executables: set[str] = set()
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", ".venv", "node_modules")]
        for name in names:
            full = Path(folder) / name
            if full.is_symlink():
                continue
            relative = full.relative_to(root).as_posix()
            paths.add(relative)
            if os.access(full, os.X_OK):
                executables.add(relative)

    def read(path: str) -> bytes | None:
        full = root / path
        if path not in paths or full.stat().st_size > MAX_READ:
            return None
        return full.read_bytes()

    return Listing(frozenset(paths), frozenset(executables), read)
