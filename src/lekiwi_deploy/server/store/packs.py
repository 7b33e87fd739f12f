"""Packs that were made, and what a robot may download."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.platforms import Platform


@dataclass(frozen=True, slots=True)
class Permission:
    """A robot that may download: its project and platform (None until it reported one), and which of the manifests that were
    asked about belong to deployments of its project."""

    project: ProjectName
    platform: Platform | None
    manifests: tuple[ManifestDigest, ...]


async def permission(tx: Transaction, robot: RobotId, manifests: Collection[ManifestDigest]) -> Permission | None:
    """What `robot` may download of `manifests`; None when there is no such robot, or its key was cloned."""
    return await tx.row(
        "SELECT r.project, r.platform, ARRAY(SELECT DISTINCT d.package_hash FROM deployments d "
        "WHERE d.project = r.project AND d.package_hash = ANY(%s)) AS manifests "
        "FROM robots r WHERE r.name = %s AND r.public_key IS NOT NULL AND r.cloned_at IS NULL",
        (list(manifests), robot),
        Permission,
    )


async def size(tx: Transaction, key: str) -> int | None:
    """Bytes of the pack under this object store key; None: it was not made yet."""
    return await tx.row("SELECT size FROM packs WHERE key = %s", (key,), int)


async def record(tx: Transaction, key: str, size: int, now: datetime) -> None:
    """Notes a pack, after it is in the object store."""
    await tx.execute(
        "INSERT INTO packs (key, size, created_at) VALUES (%s, %s, %s) "
        "ON CONFLICT (key) DO UPDATE SET size = excluded.size, created_at = excluded.created_at",
        (key, size, now),
    )


async def forget_old(tx: Transaction, before: datetime) -> list[str]:
    """Forgets packs that were made before `before`; returns their object store keys, for their objects to be deleted."""
    return await tx.rows("DELETE FROM packs WHERE created_at < %s RETURNING key", (before,), str)


async def forget(tx: Transaction, key: str) -> None:
    """Forgets a pack whose object is gone."""
    await tx.execute("DELETE FROM packs WHERE key = %s", (key,))


@dataclass(frozen=True, slots=True)
class Coming:
    """A pack that will be asked for soon. `old` None: from nothing."""

    old: ManifestDigest | None
    new: ManifestDigest
    platform: Platform


async def coming(tx: Transaction, projects: Collection[str], since: datetime) -> list[Coming]:
    """From what linked robots run to what was built for their environment after `since` and is not rolled out yet."""
    return await tx.rows(
        "SELECT DISTINCT CASE WHEN EXISTS (SELECT 1 FROM deployments o WHERE o.project = d.project "
        "AND o.package_hash = r.running_digest) THEN r.running_digest END AS old, d.package_hash AS new, r.platform "
        "FROM deployments d JOIN robots r ON r.project = d.project AND r.environment = d.environment "
        "WHERE d.project = ANY(%s) AND d.status = 'built' AND d.rollout IS NULL AND d.finished_at > %s "
        "AND r.session IS NOT NULL AND r.platform IS NOT NULL AND r.running_digest IS DISTINCT FROM d.package_hash LIMIT 20",
        (list(projects), since),
        Coming,
    )
