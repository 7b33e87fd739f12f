"""What many retained deployments cost on a robot's disk, and how long it takes to have an old one again."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from benchmarks.content_history import History
from benchmarks.content_methods import Publisher
from lekiwi_deploy.content.apply import apply_pack
from lekiwi_deploy.content.manifests import manifest_digest, read_manifest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.slots import lay_bare, lay_out


def disk(history: History, robot: Path) -> dict[str, float]:
    """Every commit deployed one after the other, all retained: the live one and the one before laid out, the others as manifests.

    Bytes as the file system allots them, hard links counted once.
    """
    publisher = Publisher(history.tree)
    objects = ObjectFolder(robot / "objects")
    slots = robot / "deployments"
    slots.mkdir()
    old: bytes | None = None
    copies = 0
    stored_manifests: list[bytes] = []
    for number, commit in enumerate(history.commits):
        history.go_to(commit)
        _, stored = publisher.publish()
        copies += allotted(history.tree, skip=".git")
        applied = apply_pack([publisher.pack(old, stored)], objects, manifest_digest(stored), None, old)
        lay_out(objects, applied.manifest, None, slots / str(number), extra=_extra(stored))
        if number > 1:
            lay_bare(objects, slots / str(number - 2), extra=_extra(stored_manifests[number - 2]))
        stored_manifests.append(stored)
        old = stored
    retained = allotted(robot)
    spans = []
    for number in range(0, len(stored_manifests) - 2, max(1, len(stored_manifests) // 20)):
        start = time.perf_counter()
        stored = (slots / str(number) / "manifest.json").read_bytes()
        lay_out(objects, read_manifest(stored), None, slots / str(number), extra=_extra(stored))
        spans.append(1000 * (time.perf_counter() - start))
    return {
        "deployments": len(stored_manifests),
        "retained_bytes": retained,
        "copies_bytes": copies,
        "ratio": retained / copies,
        "lay_out_again_ms": statistics.median(spans),
    }


def allotted(folder: Path, skip: str | None = None) -> int:
    """Bytes on disk of everything below `folder`, each inode once."""
    seen: set[int] = set()
    total = 0
    for where, folders, files in os.walk(folder):
        for name in [*folders, *files, "."]:
            if name == skip:
                continue
            status = os.lstat(f"{where}/{name}")
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total


def _extra(stored: bytes) -> dict[str, bytes]:
    return {"manifest.json": stored, "metadata.json": b'{"id": "dep_00000000", "version": "v1.2.3"}'}
