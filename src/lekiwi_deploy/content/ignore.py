"""What `lekiwi deploy` leaves at home: what git ignores, what never belongs into a deployment, and `--exclude`."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

ALWAYS = frozenset({".git", ".lekiwi", ".venv", "__pycache__"})
"""Names of files and folders that no pattern can bring back."""


class IgnoreRules:
    """The rules that hold in one folder.

    As git does it: patterns of the deepest `.gitignore` that say anything decide, the last matching pattern within it wins, and
    what lies in an ignored folder cannot be brought back. `exclude` patterns (same syntax, relative to the root) come before all.
    """

    def __init__(self, exclude: Iterable[str] = ()) -> None:
        self._path = ""  # of the folder, with a slash at its end
        self._exclude = _spec(exclude)
        self._specs: tuple[tuple[int, GitIgnoreSpec], ...] = ()  # deepest first; how much of a path to cut off for it

    def below(self, name: str) -> IgnoreRules:
        """The rules of the folder `name` in this one."""
        rules = copy(self)
        rules._path = f"{self._path}{name}/"
        return rules

    def with_gitignore(self, text: str) -> IgnoreRules:
        """The rules of this folder, which holds a `.gitignore` with this text."""
        spec = _spec(text.splitlines())
        if spec is None:
            return self
        rules = copy(self)
        rules._specs = ((len(self._path), spec), *self._specs)
        return rules

    def skips(self, name: str, *, folder: bool) -> bool:
        """Whether the file or folder `name` in this folder stays at home."""
        if name in ALWAYS:
            return True
        path = f"{self._path}{name}/" if folder else self._path + name
        if self._exclude is not None and self._exclude.check_file(path).include:
            return True
        for start, spec in self._specs:
            verdict = spec.check_file(path[start:]).include
            if verdict is not None:
                return verdict
        return False


def _spec(lines: Iterable[str]) -> GitIgnoreSpec | None:
    patterns = [line for line in lines if line.strip() and not line.startswith("#")]
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec  # 40 ms that most commands need not pay

    return GitIgnoreSpec.from_lines(patterns)
