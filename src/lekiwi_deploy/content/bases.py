"""Which file that a robot has is most like a file that it needs. Pure; a wrong guess costs bytes, never correctness."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from lekiwi_deploy.wire.manifest import FileEntry, FileKind

_VERSION = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{8,}(?![0-9A-Za-z])|[0-9]+(?:[._][0-9]+)*")
_SMALLEST = 32
"""Bytes below which looking for something alike is not worth the name of it."""


def choose_bases(needed: Iterable[FileEntry], old: Iterable[FileEntry]) -> Mapping[str, FileEntry]:
    """Path of a needed entry → the old entry to patch, for those where there is one.

    The same path first; then the same path but for numbers and hashes in it (`numpy-1.26.4.dist-info`, `libx-0f3a9c21.so.3`); then,
    among old files that are gone or moved, the same name in another folder, else a name in the same folder that shares most
    of its beginning. Where several fit, the nearest in size.
    """
    needed = [entry for entry in needed if entry.kind is not FileKind.SYMLINK and entry.size >= _SMALLEST]
    candidates = [entry for entry in old if entry.kind is not FileKind.SYMLINK and entry.size >= _SMALLEST]
    by_path = {entry.path: entry for entry in candidates}
    by_shape = _grouped(candidates, _shape)
    by_name = _grouped(candidates, lambda path: _shape(path.rpartition("/")[2]))
    by_folder = _grouped(candidates, _folder_and_suffix)
    chosen: dict[str, FileEntry] = {}
    for entry in needed:
        base = by_path.get(entry.path) or (
            _nearest(entry, by_shape.get(_shape(entry.path), ()))
            or _nearest(entry, by_name.get(_shape(entry.path.rpartition("/")[2]), ()), ratio=4)
            or _most_alike(entry, by_folder.get(_folder_and_suffix(entry.path), ()))
        )
        if base is not None:
            chosen[entry.path] = base
    return chosen


def _shape(path: str) -> str:
    return _VERSION.sub("#", path)


def _folder_and_suffix(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{_shape(folder)}/*{name[name.rfind('.') :] if '.' in name else ''}"


def _grouped(entries: Iterable[FileEntry], key: object) -> dict[str, list[FileEntry]]:
    assert callable(key)
    groups: defaultdict[str, list[FileEntry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry.path)].append(entry)
    return groups


def _nearest(entry: FileEntry, candidates: Iterable[FileEntry], *, ratio: int = 0) -> FileEntry | None:
    """The candidate nearest in size (then by path); with `ratio`, none that is so many times larger or smaller."""
    fitting = [old for old in candidates if not ratio or old.size < ratio * entry.size < ratio * ratio * old.size]
    return min(fitting, key=lambda old: (abs(old.size - entry.size), old.path), default=None)


def _most_alike(entry: FileEntry, candidates: Iterable[FileEntry]) -> FileEntry | None:
    """The candidate whose path shares the longest beginning, if that is more than half of the name."""
    best: tuple[int, int, str] | None = None
    found: FileEntry | None = None
    start = entry.path.rfind("/") + 1
    for old in candidates:
        shared = _shared(entry.path[start:], old.path[old.path.rfind("/") + 1 :])
        if 2 * shared <= len(entry.path) - start or not old.size < 4 * entry.size < 16 * old.size:
            continue
        rank = (-shared, abs(old.size - entry.size), old.path)
        if best is None or rank < best:
            best, found = rank, old
    return found


def _shared(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
