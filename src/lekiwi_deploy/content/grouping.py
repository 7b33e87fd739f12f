"""Which small files travel together, and which old files are their common dictionary. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lekiwi_deploy.wire.manifest import FileEntry, FileKind

SMALL = 256 << 10
"""Bytes up to which a file shares a frame with others."""
GROUP = 1 << 20
"""Plain bytes of a group, which a robot unpacks at once."""
GROUP_BASES = 2 << 20
"""Bytes of its dictionary. A single base that is larger is used up to here."""
GROUP_PARTS = 256
RELATED = 384 << 10
"""Bytes of old files that lend their words to files that are like none. Worth 7 % of new source code, and a tenth of a second."""
_WORTH_RELATED = 2 << 10


@dataclass(frozen=True, slots=True)
class Group:
    """`bases` in the order of the dictionary: what is most like the parts comes last."""

    parts: tuple[FileEntry, ...]
    bases: tuple[FileEntry, ...]


def plan_groups(small: Sequence[FileEntry], bases: Mapping[str, FileEntry], old: Sequence[FileEntry]) -> list[Group]:
    """Cut `small` (in order of path) into groups. `bases`: see `bases.choose_bases`; `old`: everything that the robot has."""
    groups: list[Group] = []
    parts: list[FileEntry] = []
    dictionary: dict[str, FileEntry] = {}
    plain = lent = 0
    for entry in small:
        base = bases.get(entry.path)
        more = min(base.size, GROUP_BASES) if base is not None and base.digest not in dictionary else 0
        if parts and (len(parts) == GROUP_PARTS or plain + entry.size > GROUP or lent + more > GROUP_BASES):
            groups.append(Group(tuple(parts), tuple(dictionary.values())))
            parts, dictionary, plain, lent = [], {}, 0, 0
            more = min(base.size, GROUP_BASES) if base is not None else 0
        parts.append(entry)
        plain += entry.size
        if base is not None:
            dictionary.setdefault(base.digest, base)
            lent += more
    if parts:
        groups.append(Group(tuple(parts), tuple(dictionary.values())))
    if len(groups) != 1:  # a first deployment, or a new dependency: time matters more
        return groups
    only = groups[0]
    return [Group(only.parts, (*_related(only, bases, old), *only.bases))]


def _related(group: Group, bases: Mapping[str, FileEntry], old: Sequence[FileEntry]) -> list[FileEntry]:
    """Old files of the same kinds near the ones without a base, the nearest last."""
    new = [entry for entry in group.parts if entry.path not in bases]
    if _bytes(new) < _WORTH_RELATED:
        return []
    suffixes = {_suffix(entry.path) for entry in new}
    near = {folder: folder.count("/") + 1 for entry in new for folder in _folders(entry.path)}
    taken = {entry.digest for entry in group.bases}
    candidates = [
        (max((near.get(folder, 0) for folder in _folders(entry.path)), default=0), entry)
        for entry in old
        if entry.size and entry.kind is not FileKind.SYMLINK and _suffix(entry.path) in suffixes
    ]
    found: list[FileEntry] = []
    room = min(RELATED, GROUP_BASES - _bytes(group.bases))
    for _, entry in sorted(candidates, key=lambda one: (-one[0], one[1].path)):
        if entry.digest not in taken and entry.size <= room and len(found) + len(group.bases) < GROUP_PARTS:
            taken.add(entry.digest)
            found.append(entry)
            room -= entry.size
    return found[::-1]


def _bytes(entries: Iterable[FileEntry]) -> int:
    return sum(min(entry.size, GROUP_BASES) for entry in entries)


def _suffix(path: str) -> str:
    name = path[path.rfind("/") + 1 :]
    return name[name.rfind(".") :] if "." in name else ""


def _folders(path: str) -> list[str]:
    return [path[:cut] for cut, character in enumerate(path) if character == "/"]
