"""What it would cost robots to go over to a deployment: bytes to send, and services that would be started again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import zstandard

from lekiwi_deploy.content.manifests import MAX_MANIFEST, entries_for, read_manifest
from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.fleet.differences import restarts
from lekiwi_deploy.fleet.differences import variables as compare
from lekiwi_deploy.fleet.variables import Where, resolve
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key, object_key, pack_key
from lekiwi_deploy.server.store import deployments, packs, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.api import Environment
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest, ObjectDigest, RobotId
from lekiwi_deploy.wire.manifest import FileEntry, Manifest
from lekiwi_deploy.wire.platforms import Platform, best_key

SAMPLED = 64
"""So many of the largest missing objects are asked for their real size in the store; what the others shrink to is taken from those."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one robot. `bytes` None: not known before it is built; `estimated`: whole files, where patches may make it less."""

    bytes: int | None
    estimated: bool
    restarts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Robots of which everything here is equal cost the same."""

    running: ManifestDigest | None
    platform: Platform | None
    has: bool
    differ: tuple[str, ...]


async def changed_variables(
    tx: Transaction, rows: Sequence[RobotRow], wanted: DeploymentRow | None, environment: Environment, *, newest: bool
) -> Mapping[DeploymentId, tuple[str, ...]]:
    """For each deployment that these robots run, the variables that would have another value with `wanted`, as far as they are not of single robots
    or labels. `newest`: with those of now, though it ran there before."""
    ids = sorted(
        {row.report.running.deployment for row in rows if row.report is not None and row.report.running is not None}
    )
    if wanted is None or not ids:
        return {}
    project, now = environment.project, await variables.revision(tx, environment.project)
    bound = None if newest else await variables.bound(tx, project, environment.name, wanted.id)
    after = resolve(
        await variables.at_revision(tx, project, now if bound is None else bound),
        Where(environment.name, branch=wanted.branch),
    )
    found: dict[DeploymentId, tuple[str, ...]] = {}
    for row in await deployments.read_many(tx, ids):
        revision = await variables.bound(tx, project, environment.name, row.id)
        versions = await variables.at_revision(tx, project, now if revision is None else revision)
        before = resolve(versions, Where(environment.name, branch=row.branch))
        found[row.id] = tuple(one.name for one in compare(before, after))
    return found


async def costs(
    tx: Transaction,
    context: Context,
    rows: Sequence[RobotRow],
    wanted: DeploymentRow | None,
    differ: Mapping[DeploymentId, tuple[str, ...]],
) -> Mapping[RobotId, Cost]:
    """The cost of each robot; those that are alike are worked out once. `differ`: see `changed_variables`."""
    if wanted is None or wanted.package_hash is None:
        return {row.name: Cost(None, False, ()) for row in rows}
    kinds = {row.name: _kind(row, wanted, differ) for row in rows}
    manifests: dict[ManifestDigest, Manifest | None] = {}
    for digest in {wanted.package_hash, *(kind.running for kind in kinds.values() if kind.running is not None)}:
        manifests[digest] = await _manifest(context, digest)
    new = manifests[wanted.package_hash]
    if new is None:
        return {row.name: Cost(None, False, ()) for row in rows}
    known: dict[_Kind, Cost] = {}
    for kind in dict.fromkeys(kinds.values()):
        old = manifests.get(kind.running) if kind.running is not None else None
        size, estimated = await _bytes(tx, context, kind, wanted.package_hash, old, new)
        platforms = (kind.platform,) if kind.platform is not None else ()
        known[kind] = Cost(size, estimated, restarts(old, new, platforms, kind.differ))
    return {name: known[kind] for name, kind in kinds.items()}


def _kind(row: RobotRow, wanted: DeploymentRow, differ: Mapping[DeploymentId, tuple[str, ...]]) -> _Kind:
    report = row.report
    running = report.running if report is not None else None
    has = report is not None and wanted.id in report.retained
    if running is None:
        return _Kind(None, row.platform, has, ())
    return _Kind(running.digest, row.platform, has, differ.get(running.deployment, ()))


async def _bytes(
    tx: Transaction, context: Context, kind: _Kind, to: ManifestDigest, old: Manifest | None, new: Manifest
) -> tuple[int, bool]:
    """What is sent, and whether that is only estimated: the pack, if it was made; else the missing objects as they are stored."""
    if kind.has or kind.running == to:
        return 0, False
    if kind.platform is not None:
        made = await packs.size(tx, pack_key(kind.running if old is not None else None, to, kind.platform.key))
        if made is not None:
            return made, False
    missing = _missing(kind.platform, old, new)
    largest = sorted(missing.items(), key=lambda one: (-one[1], one[0]))
    asked = largest[:SAMPLED]
    stored = await asyncio.gather(*(_stored(context, digest) for digest, _ in asked))
    found = [(size, there) for (_, size), there in zip(asked, stored, strict=True) if there is not None]
    plain, sent = sum(size for size, _ in found), sum(there for _, there in found)
    rest = sum(size for _, size in largest[SAMPLED:])
    return sent + round(rest * (sent / plain if plain else 1.0)), True


def _missing(platform: Platform | None, old: Manifest | None, new: Manifest) -> dict[ObjectDigest, int]:
    had = {entry.digest for entry in _entries(old, platform)} if old is not None else set()
    return {entry.digest: entry.size for entry in _entries(new, platform) if entry.digest not in had}


def _entries(manifest: Manifest, platform: Platform | None) -> tuple[FileEntry, ...]:
    return entries_for(manifest, best_key(manifest.platforms, platform) if platform is not None else None)


async def _stored(context: Context, digest: ObjectDigest) -> int | None:
    try:
        return await context.objects.size(object_key(digest))
    except NotFound:
        return None


async def _manifest(context: Context, digest: ManifestDigest) -> Manifest | None:
    """None: what a robot runs is not known here (it comes from another server, or was removed)."""
    try:
        stored = await context.objects.get(manifest_key(digest))
    except NotFound:
        return None
    return await asyncio.to_thread(_read, stored, digest)


def _read(stored: bytes, digest: ManifestDigest) -> Manifest:
    plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=MAX_MANIFEST)
    return read_manifest(plain, digest=digest)
