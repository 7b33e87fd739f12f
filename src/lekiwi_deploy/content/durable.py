"""Making sure that what was written survives a power cut."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection
from functools import cache
from pathlib import Path

from lekiwi_deploy.content.failpoints import fp

_SINGLE = 8
"""Up to so many files and folders are flushed one by one, more by one call for the whole file system. A single flush costs half a
millisecond on an idle disk and several on a busy one; `syncfs` costs 7 ms for a thousand files, and waits for whatever else the
machine has not written yet (a robot that records video may have much)."""


def make_durable(paths: Collection[str], *, within: Path) -> None:
    """Return once the content and entries of `paths` (files and folders, all on the file system of `within`) are on disk.

    Raises `OSError`; then nothing is known about what was written, and it has to be thrown away.
    """
    if len(paths) > _SINGLE and _sync_file_system(within):
        return
    for path in paths:
        sync_path(path)


def sync_path(path: str | Path) -> None:
    """Flush one file or folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` so that after any crash it holds the old or the new content, whole; durable on return."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    fp("file.before_write")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fp("file.before_rename")
        temporary.replace(path)
        fp("file.after_rename")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _sync_file_system(path: Path) -> bool:
    """`syncfs`, which reports write errors since Linux 5.8. False where there is none (macOS)."""
    try:
        syncfs = _libc().syncfs
    except AttributeError:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if syncfs(fd) != 0:
            code = ctypes.get_errno()
            if code == errno.ENOSYS:
                return False
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)
    return True


_RENAME_EXCHANGE = 2


def exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step. False where the system or file system cannot."""
    try:
        renameat2 = _libc().renameat2
    except AttributeError:
        return False
    at_cwd = -100
    if renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
