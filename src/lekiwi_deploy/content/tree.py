"""A real folder → entries, and the bytes behind them. Never follows a link, never opens what is not a plain file."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lekiwi_deploy.content.digests import hash_open_file, object_digest
from lekiwi_deploy.content.entries import MAX_ENTRIES, check_entries
from lekiwi_deploy.content.hash_cache import HashCache
from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.content.paths import MAX_DEPTH, BadEntry, check_link, check_path
from lekiwi_deploy.errors import Failed, NotFound, TooLarge
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_GITIGNORE = 1 << 20


def read_tree(
    root: Path,
    prefix: str = "",
    *,
    ignore: IgnoreRules | None = None,
    cache: HashCache | None = None,
    seen: Callable[[FileEntry], None] | None = None,
) -> tuple[FileEntry, ...]:
    """Entries of everything below `root`, sorted, paths beginning with `prefix` ("code" gives `code/…`).

    `.git` folders are left out always, with `ignore` also what its rules (and `.gitignore` files on the way) skip; empty
    folders do not exist in deployments. Modes become plain or executable. `seen` is told each entry as it is found.
    Raises `BadEntry` for what may not be deployed (devices, links out, odd names, …), `NotFound` when `root` is no folder,
    `Failed` for a file that cannot be read or changes meanwhile.
    """
    try:
        folder = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    except OSError as error:
        raise NotFound(f"{root} cannot be read: {error.strerror}") from error
    walk = _Walk(prefix + "/" if prefix else "", cache, seen)
    try:
        walk.folder(folder, "", ignore)
    finally:
        os.close(folder)
    entries = tuple(sorted(walk.entries, key=lambda entry: entry.path))
    check_entries(entries)
    return entries


class TreeObjects:
    """The bytes behind entries that `read_tree(root, prefix)` gave."""

    def __init__(self, root: Path, entries: Iterable[FileEntry], prefix: str = "") -> None:
        self._root = root
        self._cut = len(prefix) + 1 if prefix else 0
        self._entries = {entry.digest: entry for entry in entries}

    def read(self, digest: ObjectDigest) -> bytes:
        """The object's content. Raises `NotFound` when no entry has it, `Failed` when the file changed since it was hashed."""
        entry = self._entries.get(digest)
        if entry is None:
            raise NotFound(f"no file here has the digest {digest}")
        path = entry.path[self._cut :]
        try:
            data = self._content(path, entry)
        except OSError as error:
            raise Failed(f"{path} cannot be read: {error.strerror}") from error
        if len(data) != entry.size or object_digest(data) != digest:
            raise Failed(f"{path} changed while it was read; try again")
        return data

    def _content(self, path: str, entry: FileEntry) -> bytes:
        fd = os.open(self._root, _FOLDER & ~os.O_NOFOLLOW)
        try:
            *folders, name = path.split("/")
            for folder in folders:
                below = os.open(folder, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            if entry.kind is FileKind.SYMLINK:
                return os.fsencode(os.readlink(name, dir_fd=fd))
            with os.fdopen(os.open(name, _FILE, dir_fd=fd), "rb") as file:
                return file.read(entry.size + 1)
        finally:
            os.close(fd)


class _Walk:
    def __init__(self, prefix: str, cache: HashCache | None, seen: Callable[[FileEntry], None] | None) -> None:
        self.entries: list[FileEntry] = []
        self._prefix = prefix
        self._cache = cache
        self._seen = seen

    def folder(self, fd: int, path: str, ignore: IgnoreRules | None) -> None:
        if path.count("/") > MAX_DEPTH:
            raise BadEntry(path, f"it is more than {MAX_DEPTH} levels deep")
        with os.scandir(fd) as found:
            items = sorted(found, key=lambda item: item.name)
        if ignore is not None and any(item.name == ".gitignore" for item in items):
            ignore = ignore.with_gitignore(_gitignore(fd))
        for item in items:
            is_folder = item.is_dir(follow_symlinks=False)
            if item.name == ".git" or (ignore is not None and ignore.skips(item.name, folder=is_folder)):
                continue
            try:
                if is_folder:
                    below = os.open(item.name, _FOLDER, dir_fd=fd)
                    try:
                        self.folder(below, f"{path}{item.name}/", ignore and ignore.below(item.name))
                    finally:
                        os.close(below)
                else:
                    self._add(self._entry(fd, item.name, path + item.name))
            except OSError as error:
                raise Failed(f"{path}{item.name} cannot be read: {error.strerror}") from error

    def _add(self, entry: FileEntry) -> None:
        self.entries.append(entry)
        if len(self.entries) > MAX_ENTRIES:
            raise TooLarge(f"more than {MAX_ENTRIES} files below one folder")
        if self._seen is not None:
            self._seen(entry)

    def _entry(self, folder: int, name: str, path: str) -> FileEntry:
        shown = self._prefix + path
        check_path(shown)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=folder)
            check_link(path, target)
            raw = target.encode()
            return FileEntry(shown, FileKind.SYMLINK, len(raw), object_digest(raw))
        if not stat.S_ISREG(status.st_mode):
            raise BadEntry(
                path, f"it is a {_kind(status.st_mode)}; only files, folders and symbolic links can be deployed"
            )
        kind = FileKind.EXECUTABLE if status.st_mode & stat.S_IXUSR else FileKind.FILE
        digest = self._cache.get(path, status) if self._cache is not None else None
        if digest is not None:
            return FileEntry(shown, kind, status.st_size, digest)
        fd = os.open(name, _FILE, dir_fd=folder)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise BadEntry(path, "it changed its kind while it was read")
            digest, size = hash_open_file(fd)
            if size != status.st_size or os.fstat(fd).st_mtime_ns != status.st_mtime_ns:
                raise Failed(f"{path} changed while it was read; try again")
        finally:
            os.close(fd)
        if self._cache is not None:
            self._cache.add(path, status, digest, now_ns=time.time_ns())
        return FileEntry(shown, kind, size, digest)


def _gitignore(folder: int) -> str:
    try:
        with os.fdopen(os.open(".gitignore", _FILE, dir_fd=folder), "rb") as file:
            return file.read(_MAX_GITIGNORE).decode(errors="replace")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):  # git does not follow a link here either
            return ""
        raise


def _kind(mode: int) -> str:
    for name, test in (
        ("device", stat.S_ISBLK),
        ("device", stat.S_ISCHR),
        ("FIFO", stat.S_ISFIFO),
        ("socket", stat.S_ISSOCK),
    ):
        if test(mode):
            return name
    return "special file"
