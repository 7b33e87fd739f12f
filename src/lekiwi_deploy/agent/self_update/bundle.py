"""Getting the archive of a release: resumed where it broke off, and nothing before its digest was found right."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from lekiwi_deploy.agent.net.network import Content
from lekiwi_deploy.client import faults
from lekiwi_deploy.content.durable import sync_path
from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.link import AgentWanted

_SPARE = 64 << 20
"""Bytes that an archive must leave free."""


def _path(folder: Path, digest: str) -> Path:
    return folder / f"agent-{digest}.zip"


def there(folder: Path, wanted: AgentWanted) -> Path | None:
    """The archive, if it is here; its digest was verified when it came, and is again when it is unpacked."""
    path = _path(folder, wanted.digest)
    try:
        return path if path.stat().st_size == wanted.size else None
    except OSError:
        return None


def fetch(content: Content, folder: Path, wanted: AgentWanted, stop: threading.Event) -> Path:
    """Get what is missing of it, in a thread. Raises `Unavailable` (try again), `LekiwiError` as the server says, `OSError` of the disk."""
    path = _path(folder, wanted.digest)
    unfinished = path.with_suffix(".unfinished")
    for other in folder.glob("agent-*"):
        if other not in (path, unfinished):
            other.unlink()
    size = unfinished.stat().st_size if unfinished.exists() else 0
    if size > wanted.size:
        unfinished.unlink()
        size = 0
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < wanted.size - size + _SPARE:
        raise Unavailable(f"the disk is too full for an agent of {wanted.size} bytes")
    with unfinished.open("ab") as file:
        if size < wanted.size:
            _append(content, wanted, size, file.fileno(), stop)
        os.fsync(file.fileno())
    if digest_of(unfinished) != wanted.digest:
        unfinished.unlink()
        raise Unavailable("what came is not what the server announced: it is fetched anew")
    unfinished.replace(path)
    sync_path(folder)
    return path


def forget(folder: Path) -> None:
    """No archive is needed any more."""
    for path in folder.glob("agent-*"):
        path.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _append(content: Content, wanted: AgentWanted, size: int, fd: int, stop: threading.Event) -> None:
    answer = content.ask(wanted.path, ticket=None, limit=wanted.size - size + (64 << 10), start=size)
    try:
        if answer.status not in (200, 206):
            data = b"".join(answer.pieces())[: 64 << 10]
            raise faults.from_answer("the server", answer.status, data, {})
        if size and answer.status != 206:
            os.ftruncate(fd, 0)
            raise Unavailable("the server cannot resume it: it is fetched anew")
        for piece in answer.pieces():
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
            if stop.is_set():
                raise Unavailable("it is not wanted any more")
    finally:
        answer.close()
