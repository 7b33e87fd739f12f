"""What a build depends on, as one digest: the same digest means the same release, without building it again. PURE."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.manifest import FileEntry
from lekiwi_deploy.wire.platforms import Platform

BUILDER = "1"
"""Raised when this version makes another release out of the same inputs than the one before."""


def input_digest(
    entries: Sequence[FileEntry], platforms: Iterable[Platform], *, pythons: Iterable[str], tools: Iterable[str]
) -> str:
    """`entries`: the exported tree (lekiwi.yaml among them); `pythons`: minor versions that byte code can be made for here;
    `tools`: names and versions of what builds."""
    parts = (
        BUILDER,
        [(entry.path, entry.kind.value, entry.digest) for entry in entries],
        sorted(platform.key for platform in platforms),
        sorted(pythons),
        sorted(tools),
    )
    return hashlib.sha256(encode(parts)).hexdigest()
