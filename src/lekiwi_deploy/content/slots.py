"""A deployment as a folder: hard links out of the object folder, complete or not there at all.

Everything is made below `.tmp-<name>` beside the target, flushed, and then takes the target's place in one rename (or one
exchange, where the target is a slot that was not laid out). Whoever starts up removes `.tmp-*` with `remove_leftovers`.
"""

# Plain strings and `os` calls: there are thousands of them in one switch, and Path objects would double their cost.
# ruff: noqa: PTH102, PTH115, PTH211
from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.content.digests import hash_open_file, object_digest
from lekiwi_deploy.content.durable import exchange, make_durable, sync_path
from lekiwi_deploy.content.entries import check_entries
from lekiwi_deploy.content.failpoints import fp
from lekiwi_deploy.content.manifests import TOP_FOLDERS, entries_for
from lekiwi_deploy.content.objects import UNREADABLE, CorruptObject, ObjectFolder
from lekiwi_deploy.content.paths import BadEntry, check_link, check_path
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest

_BLOCK = 4096
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP})
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, *UNREADABLE})
"""Not there, or the disk cannot read it any more."""
TEMPORARY = ".tmp-"
PRIVATE = frozenset({"variables.json"})
"""Files of a slot that only its owner may read."""
LAST_WRITTEN = "manifest.json"
"""The file of a slot that is written after all others: what is newer than it was changed by somebody."""


class MissingObjects(NotFound):
    """A slot cannot be laid out before these objects (`.digests`) are fetched."""

    def __init__(self, digests: tuple[ObjectDigest, ...]) -> None:
        super().__init__(f"{len(digests)} objects of the deployment are not on this robot")
        self.digests = digests


def lay_out(
    objects: ObjectFolder,
    manifest: Manifest,
    platform_key: str | None,
    target: Path,
    *,
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Make `target` the deployment's folder: what `platform_key` gets of the manifest, and `extra` files (by name, beside
    `code/` and `deps/`). A target that exists is replaced, whole. Durable on return.

    Raises `MissingObjects`, `CorruptObject` or `BadEntry` for content, `OSError` for the disk; the target is then as it was.
    """
    entries = entries_for(manifest, platform_key)
    check_entries(entries)
    _replace(objects, entries, target, extra or {})


def lay_bare(objects: ObjectFolder, target: Path, *, extra: Mapping[str, bytes]) -> None:
    """Make `target` hold `extra` only: a deployment that is kept, but needs `lay_out` before it can run. Durable on return."""
    _replace(objects, (), target, extra)


def is_laid_out(target: Path) -> bool:
    """Whether `lay_out` made this folder (with any file in it), not `lay_bare`."""
    return any((target / name).is_dir() for name in TOP_FOLDERS)


def remove_slot(target: Path) -> None:
    """Remove a slot so that a crash leaves all of it or a leftover."""
    gone = target.with_name(f"{TEMPORARY}gone-{target.name}")
    shutil.rmtree(gone, ignore_errors=True)
    fp("slot.before_remove")
    try:
        target.rename(gone)
    except FileNotFoundError:
        return
    sync_path(target.parent)
    fp("slot.after_remove")
    shutil.rmtree(gone)


def remove_leftovers(folder: Path) -> int:
    """Remove what an interrupted `lay_out` or `remove_slot` left in the folder of the slots; how many."""
    left = [path for path in folder.iterdir() if path.name.startswith(TEMPORARY)]
    for path in left:
        fp("slot.leftovers")
        shutil.rmtree(path)
    return len(left)


def verify_slot(
    target: Path, manifest: Manifest, platform_key: str | None, *, hashes: bool = False, without: str | None = None
) -> tuple[FileEntry, ...]:
    """The entries that are not on disk as the manifest says: kind, size, target of links; with `hashes` the content of all, without
    only of what was written to since the slot was laid out. `without`: leave out what lies below this folder.

    Empty: the slot is whole. Files that the manifest does not know (byte code compiled on the robot) are no concern.
    """
    root = str(target)
    entries: Sequence[FileEntry] = entries_for(manifest, platform_key)
    if without is not None:
        entries = [entry for entry in entries if not entry.path.startswith(without + "/")]
    return tuple(entry for entry in (entries if hashes else _unlike(root, entries)) if not _is_right(root, entry))


def holds(target: Path, manifest: Manifest, platform_key: str | None, digest: ObjectDigest) -> bool:
    """Whether every file of the slot that should have this content has it, read from disk."""
    entries = (entry for entry in entries_for(manifest, platform_key) if entry.digest == digest)
    return all(is_right(target, entry) for entry in entries)


def is_right(target: Path, entry: FileEntry) -> bool:
    """Whether this file of the slot is there with its kind, its size and its content, read from disk. Raises `OSError`."""
    return _is_right(str(target), entry)


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """What laying out a deployment takes: bytes of new objects in whole blocks, inodes of objects and slot."""

    bytes: int
    inodes: int


def disk_needed(objects: ObjectFolder, manifest: Manifest, platform_key: str | None) -> DiskNeed:
    """What fetching and laying out this deployment takes beyond what is on the disk already (the download itself not counted)."""
    entries = entries_for(manifest, platform_key)
    missing = objects.missing(entries)
    folders = len(_folders(entries))
    unlinked = sum(1 for entry in entries if entry.size == 0 or entry.kind is FileKind.SYMLINK)
    blocks = sum(-(-entry.size // _BLOCK) * _BLOCK for entry in missing)
    return DiskNeed(blocks + folders * _BLOCK, len(missing) + folders + unlinked)


def _replace(objects: ObjectFolder, entries: tuple[FileEntry, ...], target: Path, extra: Mapping[str, bytes]) -> None:
    temporary = target.with_name(TEMPORARY + target.name)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(mode=0o755)
    try:
        fp("slot.before_fill")
        fresh = [str(temporary), *_fill(objects, entries, str(temporary))]
        fp("slot.filled")
        for name, data in extra.items():
            if name in TOP_FOLDERS or "/" in name:
                raise BadEntry(name, "it would stand among the deployment's own files")
            check_path(name)
            _create(f"{temporary}/{name}", data, 0o600 if name in PRIVATE else 0o644)
            fresh.append(f"{temporary}/{name}")
        _seal(entries, temporary)
        fp("slot.before_flush")
        make_durable([*fresh, *objects.unflushed()], within=target.parent)
        fp("slot.before_publish")
        _publish(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fp("slot.after_publish")
    sync_path(target.parent)


def _publish(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not exchange(temporary, target):
            gone = target.with_name(f"{TEMPORARY}gone-{target.name}")
            target.rename(gone)
            temporary.rename(target)
            temporary = gone
        sync_path(target.parent)
        fp("slot.exchanged")
        shutil.rmtree(temporary)


def _fill(objects: ObjectFolder, entries: tuple[FileEntry, ...], root: str) -> list[str]:
    """Everything but the extra files; which new files and folders have to be flushed."""
    fresh = [f"{root}/{folder}" for folder in _folders(entries)]
    for folder in fresh:
        os.mkdir(folder, 0o755)
    links: list[FileEntry] = []
    missing: list[ObjectDigest] = []
    for entry in entries:
        if entry.kind is FileKind.SYMLINK:
            links.append(entry)
            continue
        executable = entry.kind is FileKind.EXECUTABLE
        place = f"{root}/{entry.path}"
        if entry.size == 0:  # an object of its own each: a file system has only so many links for one inode
            _create(place, b"", 0o555 if executable else 0o444)
            continue
        source = objects.path_of(entry.digest, executable=executable)
        try:
            os.link(source, place, follow_symlinks=False)
        except FileNotFoundError:
            missing.append(entry.digest)
        except OSError as error:
            if error.errno not in _COPY_INSTEAD:
                raise
            _copy(source, place, 0o555 if executable else 0o444)
            fresh.append(place)
    targets: list[tuple[str, str]] = []
    for entry in links:  # last, so that nothing is ever written through one
        try:
            targets.append((entry.path, _link_target(objects, entry)))
        except NotFound:
            missing.append(entry.digest)
    if missing:
        raise MissingObjects(tuple(dict.fromkeys(missing)))
    for path, text in targets:
        os.symlink(text, f"{root}/{path}")
    return fresh


def _seal(entries: tuple[FileEntry, ...], root: Path) -> None:
    """Date the slot's manifest after all its files, also those that were stored while the robot's clock was ahead."""
    manifest = root / LAST_WRITTEN
    if not entries or not manifest.exists():
        return
    newest = max(os.lstat(f"{root}/{entry.path}").st_mtime_ns for entry in entries)
    if newest > manifest.stat().st_mtime_ns:
        os.utime(manifest, ns=(newest, newest))


def _folders(entries: Iterable[FileEntry]) -> list[str]:
    """Every folder on the way to an entry, parents first."""
    folders: set[str] = set()
    for entry in entries:
        cut = entry.path.rfind("/")
        while cut > 0 and (folder := entry.path[:cut]) not in folders:
            folders.add(folder)
            cut = entry.path.rfind("/", 0, cut)
    return sorted(folders)


def _link_target(objects: ObjectFolder, entry: FileEntry) -> str:
    raw = objects.read(entry.digest)
    if object_digest(raw) != entry.digest:
        raise CorruptObject(entry.digest, f"(the target of the link {entry.path}) is damaged on disk")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadEntry(entry.path, "it is a symbolic link whose target is not UTF-8") from error
    check_link(entry.path, text)
    return text


def _create(path: str, data: bytes, mode: int) -> None:
    fd = os.open(path, _NEW, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def _copy(source: str, target: str, mode: int) -> None:
    with open(source, "rb") as original, os.fdopen(os.open(target, _NEW, mode), "wb") as copy:  # noqa: PTH123
        shutil.copyfileobj(original, copy, 1 << 20)


def _unlike(root: str, entries: Iterable[FileEntry]) -> list[FileEntry]:
    """Those that are not plainly a file of the right size and kind, or were written to after the slot was laid out (its manifest was
    written last). Every switch of a robot asks this of thousands of files."""
    try:
        folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return list(entries)
    plain = {FileKind.FILE: stat.S_IFREG, FileKind.EXECUTABLE: stat.S_IFREG | stat.S_IXUSR}
    mask, lstat, found = stat.S_IFMT(0o177777) | stat.S_IXUSR, os.lstat, []
    try:
        sealed = _sealed(folder)
        for entry in entries:
            try:
                status = lstat(entry.path, dir_fd=folder)
            except OSError:
                found.append(entry)
                continue
            if (
                status.st_size != entry.size
                or status.st_mode & mask != plain.get(entry.kind)
                or status.st_mtime_ns > sealed
            ):
                found.append(entry)
    finally:
        os.close(folder)
    return found


def _sealed(folder: int) -> int:
    """When the slot was laid out, in nanoseconds since the epoch by the robot's clock, right or wrong."""
    try:
        return os.lstat(LAST_WRITTEN, dir_fd=folder).st_mtime_ns
    except FileNotFoundError:
        return 1 << 63


def _is_right(root: str, entry: FileEntry) -> bool:
    path = f"{root}/{entry.path}"
    try:
        status = os.lstat(path)
        if entry.kind is FileKind.SYMLINK:
            return stat.S_ISLNK(status.st_mode) and object_digest(os.fsencode(os.readlink(path))) == entry.digest
        executable = bool(status.st_mode & stat.S_IXUSR)
        if (
            not stat.S_ISREG(status.st_mode)
            or status.st_size != entry.size
            or executable != (entry.kind is FileKind.EXECUTABLE)
        ):
            return False
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return hash_open_file(fd)[0] == entry.digest
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise
