"""DIR: made, locked for one server, and what the first start leaves in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lekiwi_deploy.errors import Conflict, Failed

PRIVATE = ("objects", "git", "scratch", "cache")


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Makes DIR and its private folders, and holds `DIR/lock` while the context lasts.

    Raises `Conflict` when another server has it, `Failed` when DIR cannot be written.
    """
    try:
        # PostgreSQL's own account must be able to pass through when we are root; what is private is closed one level down.
        data.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(data, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode(errors="replace").strip()
            raise Conflict(
                f"another server (process {holder or 'unknown'}) uses {data}: stop it first, or choose another --data"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        try:
            for name in PRIVATE:
                (data / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unusable(data, error) from error
        yield
    finally:
        os.close(fd)


def _unusable(data: Path, error: OSError) -> Failed:
    return Failed(
        f"{data} cannot be used for the server's data: {error.strerror}",
        next=("lekiwi server --data DIR", f"mkdir -p {data} && chown $USER {data}"),
    )
