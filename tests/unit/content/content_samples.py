"""Releases made of a few bytes, for tests of content/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lekiwi_deploy.content.apply import Applied, apply_pack
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.pack import make_pack
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest, PlatformTree, Service

PLATFORM = "linux-x86_64-glibc2.36-py3.11"
FILE, EXECUTABLE, LINK = FileKind.FILE, FileKind.EXECUTABLE, FileKind.SYMLINK


def entry(path: str, data: bytes = b"x", kind: FileKind = FILE) -> FileEntry:
    return FileEntry(path, kind, len(data), object_digest(data))


class Release:
    """A manifest and the bytes behind it. Paths ending in `*` are executable, `path -> target` as a key is a link."""

    def __init__(self, files: Mapping[str, bytes], deps: Mapping[str, bytes] | None = None) -> None:
        self.data: dict[ObjectDigest, bytes] = {}
        self.manifest = Manifest(
            project="kiwi",
            stack="plain",
            files=self._entries(files),
            platforms={PLATFORM: PlatformTree(content="0" * 64, files=self._entries(deps))} if deps is not None else {},
            services=(Service(name="web", run=("python", "-m", "kiwi"), content="0" * 64),),
        )
        self.stored = encode_manifest(self.manifest)
        self.digest = manifest_digest(self.stored)

    def _entries(self, files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
        found = []
        for name, data in files.items():
            kind = FILE
            if " -> " in name:
                name, _, target = name.partition(" -> ")
                data, kind = target.encode(), LINK
            elif name.endswith("*"):
                name, kind = name[:-1], EXECUTABLE
            found.append(entry(name, data, kind))
            self.data[found[-1].digest] = data
        return tuple(sorted(found, key=lambda one: one.path))


class Robot:
    """An object folder that packs are applied to."""

    def __init__(self, path: Path) -> None:
        self.objects = ObjectFolder(path / "objects")
        self.has: Release | None = None

    def receive(self, release: Release, pack: bytes | None = None, *, platform: str | None = PLATFORM) -> Applied:
        old = self.has.stored if self.has else None
        applied = apply_pack(
            [pack if pack is not None else self.pack_to(release)], self.objects, release.digest, platform, old
        )
        self.has = release
        return applied

    def pack_to(self, release: Release) -> bytes:
        return pack(self.has, release)


def pack(old: Release | None, new: Release) -> bytes:
    data = {**(old.data if old else {}), **new.data}
    return b"".join(make_pack(old.stored if old else None, new.stored, PLATFORM, data.__getitem__))


def text(lines: int, seed: int = 0) -> bytes:
    """Text that does not repeat itself much."""
    return b"".join(b"%d: %x\n" % (line, (line * 2654435761 + seed * 40503) % 2**64) for line in range(lines))
