"""Everything that was built -> the manifest, and where the bytes of its objects are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.content.tree import TreeObjects, read_tree
from lekiwi_deploy.server.builds.build_python import PlatformBuild
from lekiwi_deploy.server.builds.launchers import FOLDER, write_launchers
from lekiwi_deploy.server.builds.release import LEFT_BEHIND, Job, ReleaseRules
from lekiwi_deploy.server.builds.service_content import services_of
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind, Manifest, PlatformTree


@dataclass(frozen=True, slots=True)
class Assembled:
    """`code`: the objects of `manifest.files`; `paths`: where objects are as plain files."""

    manifest: Manifest
    code: TreeObjects
    paths: dict[ObjectDigest, Path]

    @property
    def installed(self) -> list[FileEntry]:
        """The entries of all platforms."""
        return [entry for tree in self.manifest.platforms.values() for entry in tree.files]

    def read_installed(self, digest: ObjectDigest) -> bytes:
        """An object of a platform: installed trees and byte code are out of every command's reach and never change."""
        return self.paths[digest].read_bytes()


async def assemble(job: Job, trees: dict[str, PlatformBuild]) -> Assembled:
    """The release as it stands now in the job's folder, with the installed `trees` by platform key. Raises `BadInput`."""
    python, tree = job.found.python, job.shop.tree
    entries = await asyncio.to_thread(read_tree, tree, "code", ignore=ReleaseRules(LEFT_BEHIND))
    if python is not None and await asyncio.to_thread(write_launchers, tree, python):
        launch = await asyncio.to_thread(read_tree, tree / FOLDER, f"code/{FOLDER}")
        kept = [entry for entry in entries if not entry.path.startswith(f"code/{FOLDER}/")]
        entries = tuple(sorted((*kept, *launch), key=lambda entry: entry.path))
    paths = {
        entry.digest: tree / entry.path.removeprefix("code/") for entry in entries if entry.kind is not FileKind.SYMLINK
    }
    platforms: dict[str, PlatformTree] = {}
    folders = [f"code/{folder}" if folder != "." else "code" for folder in python.folders] if python else []
    for key, built in trees.items():
        compiled = await built.compile_code(entries, tree, job.shop.byte_code)
        files = tuple(sorted((*built.installed.entries, *compiled.entries), key=lambda entry: entry.path))
        platforms[key] = PlatformTree(content=built.content, files=files, byte_compiled=built.installed.byte_compiled)
        paths |= built.paths | compiled.files
        folders += [f"code/{folder}" for folder in built.folders if f"code/{folder}" not in folders]
    bins = [f"code/{FOLDER}/bin"] if any(entry.path.startswith(f"code/{FOLDER}/bin/") for entry in entries) else []
    if python and python.name:
        folders.append(f"code/{FOLDER}")
    if platforms:
        folders.append("deps")
        bins.append("deps/bin")
    if any(entry.path.startswith("code/node_modules/.bin/") for entry in entries):
        bins.append("code/node_modules/.bin")
    specs = job.spec.services or ((job.found.service,) if job.found.service else ())
    manifest = Manifest(
        project=job.row.project,
        stack=job.found.stack,
        files=entries,
        platforms=dict(sorted(platforms.items())),
        services=await asyncio.to_thread(services_of, specs, entries),
        python_path=tuple(folders),
        bin_path=tuple(bins),
        conditions=job.spec.conditions,
    )
    return Assembled(manifest, TreeObjects(tree, entries, "code"), paths)
