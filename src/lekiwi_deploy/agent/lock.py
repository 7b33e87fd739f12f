"""One agent per root folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Conflict


@contextmanager
def agent_lock(paths: Paths) -> Iterator[None]:
    """Hold the root's lock. Raises `Conflict` naming the process that holds it. The kernel lets go when a holder dies."""
    paths.run.mkdir(parents=True, exist_ok=True)
    fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            raise Conflict(
                f"an agent runs here already (process {holder or 'unknown'}, root {paths.root})",
                next=("lekiwi-agent status",),
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
