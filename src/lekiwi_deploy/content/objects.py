"""A robot's store of file contents: plain read-only files named by digest, hard-linked into slots.

Keyed by digest *and* executable bit, because hard links share the mode. What lies under its final name is complete, verified
and on disk: new objects are written below `incoming/`, and `commit` flushes them all before any gets its name.
"""

# Plain strings and `os` calls: there are thousands of them in one switch, and Path objects would double their cost.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH116, PTH120
from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from lekiwi_deploy.content.digests import hash_open_file
from lekiwi_deploy.content.durable import make_durable, sync_path
from lekiwi_deploy.content.failpoints import fp
from lekiwi_deploy.errors import Failed, NotFound
from lekiwi_deploy.wire.ids import ObjectDigest, is_digest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

UNREADABLE = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", 117)})
"""What a disk says of content that it cannot read any more."""
_DAMAGED_KEPT = 3
"""Damaged objects that are kept for a person to look at."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CorruptObject(Failed):
    """Content that is not what its digest says. `details["digest"]` names it."""

    def __init__(self, digest: ObjectDigest, what: str) -> None:
        super().__init__(f"object {digest[:12]}… {what}", details={"digest": digest})
        self.digest = digest


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove_unreferenced` gave back to the disk, unless slots still link it."""

    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One file of the store. `name`: where it is, below the store's folder; `size` in bytes."""

    name: str
    digest: ObjectDigest
    executable: bool
    size: int


class ObjectFolder:
    """The store below `path`, which one process at a time writes to. Disk errors come out as `OSError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = str(path)
        self._incoming = path / "incoming"
        self._staged: dict[str, str] = {}  # name -> path of the temporary file
        self._unflushed: set[str] = set()
        self._count = 0
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left in self._incoming.iterdir():  # of a process that died
            fp("store.clear_incoming")
            left.unlink()

    def path_of(self, digest: ObjectDigest, *, executable: bool = False) -> str:
        """Where the object is, if it is there."""
        return f"{self._root}/{_name(digest, executable)}"

    def has(self, entry: FileEntry) -> bool:
        """Whether the content of `entry` is there with its kind and size, or staged. That of an empty file always is."""
        if entry.size == 0:
            return True
        executable = entry.kind is FileKind.EXECUTABLE
        try:
            return (
                os.stat(self.path_of(entry.digest, executable=executable), follow_symlinks=False).st_size == entry.size
            )
        except FileNotFoundError:
            return _name(entry.digest, executable) in self._staged

    def missing(self, entries: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
        """One entry for each object (digest and executable bit) that is not there, in the order given."""
        wanted: dict[tuple[str, bool], FileEntry] = {}
        for entry in entries:
            wanted.setdefault((entry.digest, entry.kind is FileKind.EXECUTABLE), entry)
        return tuple(entry for entry in wanted.values() if not self.has(entry))

    def derive(self, missing: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
        """Stage those of `missing` whose content is here with the other executable bit; what is still missing."""
        return tuple(entry for entry in missing if not self._copy_other_form(entry))

    def read(self, digest: ObjectDigest, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object (not verified), whichever its executable bit is. Raises `NotFound`."""
        for executable in (False, True):
            try:
                fd = os.open(self.path_of(digest, executable=executable), _READ)
            except FileNotFoundError:
                continue
            with os.fdopen(fd, "rb") as file:
                file.seek(offset)
                return file.read(-1 if length is None else length)
        raise NotFound(f"object {digest[:12]}… is not here", details={"digest": digest})

    def write(self, digest: ObjectDigest, size: int) -> ObjectWriter:
        """A writer for a new object of `size` bytes; it is staged by `finish`."""
        if not is_digest(digest):
            raise ValueError(digest)
        self._count += 1
        return ObjectWriter(self, digest, size, f"{self._incoming}/{os.getpid()}-{self._count}")

    def add(self, digest: ObjectDigest, data: bytes, *, executable: bool = False) -> None:
        """Stage a whole object. Raises `CorruptObject` when `data` does not have the digest."""
        writer = self.write(digest, len(data))
        try:
            writer.write(data)
            writer.finish(plain=not executable, executable=executable)
        finally:
            writer.close()

    def commit(self) -> int:
        """Make all staged objects part of the store, their content durably; how many. After an `OSError` nothing of them is."""
        staged, self._staged = self._staged, {}
        if not staged:
            return 0
        try:
            fp("store.before_flush")
            make_durable(list(staged.values()), within=self.path)
        except OSError:
            for temporary in staged.values():
                Path(temporary).unlink(missing_ok=True)
            raise
        fp("store.before_name")
        for name, temporary in staged.items():
            target = f"{self._root}/{name}"
            try:
                os.rename(temporary, target)
            except FileNotFoundError:
                os.mkdir(os.path.dirname(target))
                os.rename(temporary, target)
            self._unflushed.update((os.path.dirname(target), self._root))
            fp("store.between_names")
        fp("store.after_names")
        return len(staged)

    def unflushed(self) -> set[str]:
        """Folders in which a name given by `commit` may not be on disk yet. The content behind it is, so a power cut costs another
        download at most; whoever flushes these together with what it links to these objects has even that."""
        folders, self._unflushed = self._unflushed, set()
        return folders

    def drop_staged(self) -> None:
        """Forget what was not committed."""
        staged, self._staged = self._staged, {}
        for temporary in staged.values():
            fp("store.drop_staged")
            Path(temporary).unlink(missing_ok=True)

    def verify(self, digest: ObjectDigest, *, executable: bool = False) -> bool:
        """Whether the object is there and its content has its digest, read from disk. Raises `OSError` for what is no fault of the
        object's."""
        try:
            fd = os.open(self.path_of(digest, executable=executable), _READ)
            try:
                return hash_open_file(fd)[0] == digest
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in UNREADABLE or isinstance(error, FileNotFoundError):
                return False
            raise

    def stored(self, after: str = "") -> Iterator[StoredObject]:
        """Every object of the store whose name comes after `after`, in the order of names: to look at all of them, bit by bit."""
        for shard in sorted(item.name for item in os.scandir(self._root) if len(item.name) == 2):
            if shard < after[:2]:
                continue
            for item in sorted(os.scandir(f"{self._root}/{shard}"), key=lambda item: item.name):
                name = f"{shard}/{item.name}"
                if name > after:
                    try:
                        size = item.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # removed meanwhile
                    yield StoredObject(name, ObjectDigest(shard + item.name[:62]), item.name.endswith(".x"), size)

    def set_aside(self, digest: ObjectDigest, *, executable: bool = False) -> None:
        """Take a damaged object out of the store, so that it is fetched again. The newest few are kept in `damaged/`. Slots keep
        their links to it. Raises `OSError`."""
        source = self.path_of(digest, executable=executable)
        aside = self.path / "damaged"
        aside.mkdir(exist_ok=True)
        kept = sorted(aside.iterdir(), key=lambda path: path.lstat().st_ctime_ns)
        for old in kept[: max(0, len(kept) - _DAMAGED_KEPT + 1)]:
            old.unlink()
        fp("store.set_aside")
        try:
            os.rename(source, aside / Path(source).name)
        except FileNotFoundError:
            return
        sync_path(os.path.dirname(source))

    def take_back(self, source: Path, digest: ObjectDigest, *, executable: bool = False) -> None:
        """Link a file of a slot, whose content was just read and is right, into the store again; durable on return."""
        target = self.path_of(digest, executable=executable)
        Path(target).parent.mkdir(exist_ok=True)
        fp("store.take_back")
        os.link(source, target, follow_symlinks=False)
        sync_path(os.path.dirname(target))

    def discard(self, digest: ObjectDigest) -> None:
        """Remove an object, both forms of it (a corrupt one, so that it is fetched again). Slots keep their links."""
        fp("store.discard")
        for executable in (False, True):
            Path(self.path_of(digest, executable=executable)).unlink(missing_ok=True)

    def remove_unreferenced(self, keep: Collection[ObjectDigest]) -> Removed:
        """Remove every committed object whose digest is not in `keep`."""
        kept = keep if isinstance(keep, (set, frozenset)) else frozenset(keep)
        objects = freed = 0
        for digest, path in self._all():
            if digest not in kept:
                freed += os.stat(path, follow_symlinks=False).st_size
                fp("store.remove")
                os.unlink(path)
                objects += 1
        return Removed(objects, freed)

    def _copy_other_form(self, entry: FileEntry) -> bool:
        executable = entry.kind is FileKind.EXECUTABLE
        try:
            fd = os.open(self.path_of(entry.digest, executable=not executable), _READ)
        except FileNotFoundError:
            return False
        writer = self.write(entry.digest, entry.size)
        try:
            with os.fdopen(fd, "rb") as file:
                while chunk := file.read(1 << 20):
                    writer.write(chunk)
            writer.finish(plain=not executable, executable=executable)
        except CorruptObject:
            self.discard(entry.digest)
            return False
        finally:
            writer.close()
        return True

    def _all(self) -> Iterator[tuple[str, str]]:
        for shard in os.scandir(self._root):
            if len(shard.name) == 2 and shard.is_dir(follow_symlinks=False):
                for item in os.scandir(shard.path):
                    yield shard.name + item.name[:62], item.path

    def _stage(self, digest: ObjectDigest, executable: bool, temporary: str) -> None:
        os.chmod(temporary, 0o555 if executable else 0o444)
        self._staged[_name(digest, executable)] = temporary


class ObjectWriter:
    """One object on its way into an `ObjectFolder`: hashed while written, refused when longer than announced."""

    def __init__(self, folder: ObjectFolder, digest: ObjectDigest, size: int, temporary: str) -> None:
        self.digest = digest
        self.size = size
        self._folder = folder
        self._temporary: str | None = temporary
        self._fd = os.open(temporary, _CREATE, 0o600)
        self._hasher = blake3()
        self.written = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises `CorruptObject` as soon as there is more than announced."""
        self.written += len(data)
        if self.written > self.size:
            raise CorruptObject(self.digest, f"has more than the {self.size} bytes announced")
        self._hasher.update(data)
        fp("store.write")
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self, *, plain: bool, executable: bool) -> None:
        """Verify and stage it in the forms wanted. Raises `CorruptObject`."""
        temporary = self._temporary
        assert temporary is not None and (plain or executable)
        if self.written != self.size:
            raise CorruptObject(self.digest, f"has {self.written} bytes instead of {self.size}")
        if self._hasher.hexdigest() != self.digest:
            raise CorruptObject(self.digest, "does not have the content that its digest says")
        if plain and executable:
            self._copy(temporary + "x")
            self._folder._stage(self.digest, True, temporary + "x")
        self._folder._stage(self.digest, not plain, temporary)
        self._temporary = None

    def close(self) -> None:
        """Give up what was not finished. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary is not None:
            Path(self._temporary).unlink(missing_ok=True)
            self._temporary = None

    def _copy(self, target: str) -> None:
        assert self._temporary is not None
        source = os.open(self._temporary, _READ)
        copy = os.open(target, _CREATE, 0o600)
        try:
            while chunk := os.read(source, 1 << 20):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(copy, view) :]
        finally:
            os.close(source)
            os.close(copy)


def _name(digest: ObjectDigest, executable: bool) -> str:
    return f"{digest[:2]}/{digest[2:]}.x" if executable else f"{digest[:2]}/{digest[2:]}"
