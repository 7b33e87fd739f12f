"""BLAKE3, in the form that manifests name objects by."""

from __future__ import annotations

import os

from blake3 import blake3

from lekiwi_deploy.wire.ids import ObjectDigest

_CHUNK = 1 << 20
EMPTY = ObjectDigest(blake3(b"").hexdigest())
"""The digest of nothing. Empty files are made where they are wanted, never stored or sent."""


def object_digest(data: bytes | memoryview) -> ObjectDigest:
    """The digest of an object's whole content."""
    return ObjectDigest(blake3(data).hexdigest())


def hash_open_file(fd: int) -> tuple[ObjectDigest, int]:
    """Digest and number of bytes from the file's position to its end, without holding more than 1 MiB of it."""
    hasher = blake3()
    size = 0
    while chunk := os.read(fd, _CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return ObjectDigest(hasher.hexdigest()), size
