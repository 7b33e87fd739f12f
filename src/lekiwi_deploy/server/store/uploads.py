"""Uploads of directories that are under way."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.ids import ProjectName, UploadId
from lekiwi_deploy.wire.manifest import FileEntry


class UploadRow(msgspec.Struct, frozen=True, kw_only=True):
    """One directory that somebody sends: its files, sorted by path."""

    id: UploadId
    project: ProjectName
    files: tuple[FileEntry, ...]
    created_by: str
    created_at: datetime


async def insert(tx: Transaction, row: UploadRow) -> None:
    """Stores a new upload."""
    await tx.execute(
        "INSERT INTO uploads (id, project, files, created_by, created_at) VALUES (%s, %s, %s, %s, %s)",
        (row.id, row.project, jsonb(row.files), row.created_by, row.created_at),
    )


async def read(tx: Transaction, id: str) -> UploadRow | None:
    """The upload of this id."""
    return await tx.row("SELECT * FROM uploads WHERE id = %s", (id,), UploadRow)


async def drop_stale(tx: Transaction, before: datetime) -> int:
    """Forgets uploads from before `before` that no queued or running build needs, and of which nothing is live, which could be built again;
    returns how many."""
    done = await tx.execute(
        "DELETE FROM uploads u WHERE u.created_at < %s AND NOT EXISTS "
        "(SELECT FROM deployments d WHERE d.upload = u.id AND (d.status IN ('queued', 'building') "
        "OR EXISTS (SELECT FROM environments e WHERE e.project = d.project AND e.live = d.id)))",
        (before,),
    )
    return done.rowcount
