"""Which lists of entries are acceptable: checked by the server before it publishes and by the robot before it writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from lekiwi_deploy.content.digests import EMPTY
from lekiwi_deploy.content.paths import BadEntry, check_path
from lekiwi_deploy.errors import TooLarge
from lekiwi_deploy.wire.ids import ObjectDigest, is_digest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

MAX_ENTRIES = 100_000
MAX_FILE = 1 << 32
"""Bytes of one file."""
MAX_TOTAL = 1 << 36
"""Bytes of all files of one tree."""
MAX_LINK = 1023
"""Bytes of a symbolic link's target."""


def check_entries(entries: Iterable[FileEntry]) -> None:
    """Raise `BadEntry` (path and reason) for the first entry that may not be deployed, `TooLarge` for too many.

    Beside each path's own rules: sorted by path, no path twice, none that differs from another only by case (in any
    of its folders), no file that is also a folder, nothing below a symbolic link, sizes and digests well-formed.
    Where links lead is checked by `paths.check_link` as soon as their objects can be read.
    """
    seen = _Names()
    before = ""
    total = 0
    for count, entry in enumerate(entries, 1):
        if count > MAX_ENTRIES:
            raise TooLarge(f"more than {MAX_ENTRIES} files in one deployment")
        path = entry.path
        check_path(path)
        if path <= before:
            raise BadEntry(path, "it is there twice" if path == before else f"it is not sorted after {before!a}")
        before = path
        seen.add(path)
        limit = MAX_LINK if entry.kind is FileKind.SYMLINK else MAX_FILE
        if not 0 <= entry.size <= limit:
            raise BadEntry(path, f"its size is {entry.size} bytes, between 0 and {limit} are allowed")
        if not is_digest(entry.digest):
            raise BadEntry(path, "its digest is not 64 lower-case hex characters")
        if (entry.size == 0) != (entry.digest == EMPTY):
            raise BadEntry(path, f"its size is {entry.size} bytes, which its digest contradicts")
        total += entry.size
    if total > MAX_TOTAL:
        raise TooLarge(f"the deployment has {total} bytes, {MAX_TOTAL} are allowed")


def object_digests(entries: Iterable[FileEntry]) -> tuple[ObjectDigest, ...]:
    """The objects that these entries need, each once, in order. Empty files need none."""
    return tuple(dict.fromkeys(entry.digest for entry in entries if entry.size))


class _Names:
    """Files and folders so far, to find pairs that one file system keeps apart and another does not."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}  # folded path -> path
        self._folders: dict[str, str] = {}

    def add(self, path: str) -> None:
        folded = _fold(path)
        other = self._files.setdefault(folded, path)
        if other is not path:
            raise BadEntry(path, f"it differs from {other!a} only by upper and lower case")
        if folded in self._folders:
            raise BadEntry(path, "it is a file and a folder")
        self._add_folders(path, folded)

    def _add_folders(self, path: str, folded: str) -> None:
        cut, folded_cut = path.rfind("/"), folded.rfind("/")
        while cut > 0:
            folder, folded_folder = path[:cut], folded[:folded_cut]
            known = self._folders.get(folded_folder)
            if known == folder:
                return  # its ancestors are known too
            if known is not None:
                raise BadEntry(path, f"its folder differs from {known!a} only by upper and lower case")
            if folded_folder in self._files:
                raise BadEntry(path, f"{self._files[folded_folder]!a} is a file or a symbolic link, not a folder")
            self._folders[folded_folder] = folder
            cut, folded_cut = path.rfind("/", 0, cut), folded.rfind("/", 0, folded_cut)


def _fold(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path.casefold())
