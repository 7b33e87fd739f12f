"""Bringing a folder's files to the server: only what it does not have yet, in one stream, taken up again when it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lekiwi_deploy.client.address import path
from lekiwi_deploy.client.api import Api
from lekiwi_deploy.content.pack import pack_objects
from lekiwi_deploy.content.tree import TreeObjects
from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.api import Upload
from lekiwi_deploy.wire.ids import ObjectDigest, UploadId
from lekiwi_deploy.wire.manifest import FileEntry

Sent = Callable[[int, int], None]
"""Told bytes done and bytes in all, of the files' own sizes."""

_PIECE = 256 << 10
_TRIES = 4


def upload(api: Api, project: str, root: Path, files: tuple[FileEntry, ...], sent: Sent) -> UploadId:
    """Sends what is missing of `files`, which `read_tree(root)` gave. After a broken connection it asks again what is missing.

    Raises `Failed` when a file changed meanwhile, and what `Transport` raises.
    """
    objects = TreeObjects(root, files)
    sizes = {entry.digest: entry.size for entry in files}
    for attempt in range(1, _TRIES + 1):
        made = api.create_upload(project, files)
        try:
            if made.missing:
                where = path("api", "uploads", made.id, "objects")
                api.transport.send(where, _pieces(made, objects, sizes, sent))
            sent(1, 1)
            return made.id
        except Unavailable:
            if attempt == _TRIES:
                raise
            api.transport.pause(api.transport.pause_s(attempt))
    raise AssertionError("the last try returns or raises")


def _pieces(made: Upload, objects: TreeObjects, sizes: dict[ObjectDigest, int], sent: Sent) -> Iterator[bytes]:
    """The stream in pieces small enough that progress moves. What was read last is what is being sent."""
    total = sum(sizes[digest] for digest in made.missing)
    done = current = 0

    def read(digest: ObjectDigest) -> bytes:
        nonlocal done, current
        done += current
        current = sizes[digest]
        return objects.read(digest)

    for chunk in pack_objects(made.missing, read):
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
            sent(done + current * min(start + _PIECE, len(chunk)) // len(chunk), total)
