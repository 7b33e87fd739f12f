"""Deployments as rows. What is immutable is written once, by `insert` and by the build's `finish`; the rest is where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RolloutId, UploadId
from lekiwi_deploy.wire.pace import Pace


class DeploymentMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The `metadata` column. `meta`: what the user gave with `--meta`; `pace`: how fast it goes to robots, as somebody asked;
    `min_success`, `skip_offline`: in place of those of the policy; `services`
    and `platforms` (keys; empty: runs anywhere)
    are the manifest's, filled in when it is built."""

    meta: Mapping[str, str] = {}
    services: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    pace: Pace | None = None
    min_success: float | None = None
    skip_offline: bool | None = None


class DeploymentRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `deployments`, column by column (see schema.sql)."""

    id: DeploymentId
    project: ProjectName
    environment: EnvironmentName | None
    version: str
    commit_sha: str | None = None
    branch: str | None = None
    ref: str | None = None
    author: str | None = None
    message: str | None = None
    created_by: str
    created_at: datetime
    source: str
    upload: UploadId | None = None
    roll_out: bool = True
    force: bool = False
    metadata: DeploymentMetadata = DeploymentMetadata()
    status: str = "queued"
    error: str | None = None
    stack: str | None = None
    input_digest: str | None = None
    package_hash: ManifestDigest | None = None
    package_url: str | None = None
    manifest_size: int = 0
    files: int = 0
    bytes: int = 0
    build_s: float | None = None
    test_s: float | None = None
    tests: str | None = None
    rollout: RolloutId | None = None
    claimed_by: str | None = None
    claim_until: datetime | None = None
    finished_at: datetime | None = None
    idempotency_key: str | None = None


_INSERT = """
INSERT INTO deployments (id, project, environment, version, commit_sha, branch, ref, author, message, created_by, created_at,
    source, upload, roll_out, force, metadata, status, error, stack, input_digest, package_hash, package_url, manifest_size,
    files, bytes, build_s, test_s, tests, rollout, claimed_by, claim_until, finished_at, idempotency_key)
VALUES (%(id)s, %(project)s, %(environment)s, %(version)s, %(commit_sha)s, %(branch)s, %(ref)s, %(author)s, %(message)s,
    %(created_by)s, %(created_at)s, %(source)s, %(upload)s, %(roll_out)s, %(force)s, %(metadata)s, %(status)s, %(error)s,
    %(stack)s, %(input_digest)s, %(package_hash)s, %(package_url)s, %(manifest_size)s, %(files)s, %(bytes)s, %(build_s)s,
    %(test_s)s, %(tests)s, %(rollout)s, %(claimed_by)s, %(claim_until)s, %(finished_at)s, %(idempotency_key)s)
"""


async def insert(tx: Transaction, row: DeploymentRow) -> None:
    """Stores a new deployment. Hints `builds`, so that a queued one is taken up at once."""
    await tx.execute(_INSERT, {**msgspec.structs.asdict(row), "metadata": jsonb(row.metadata)})
    await tx.notify("builds", row.id)


async def read(tx: Transaction, id: str) -> DeploymentRow | None:
    """The deployment of exactly this id."""
    return await tx.row("SELECT * FROM deployments WHERE id = %s", (id,), DeploymentRow)


async def read_many(tx: Transaction, ids: Sequence[str]) -> list[DeploymentRow]:
    """Those of `ids` that exist, newest first."""
    return await tx.rows(
        "SELECT * FROM deployments WHERE id = ANY(%s) ORDER BY created_at DESC, id DESC", (list(ids),), DeploymentRow
    )


async def by_prefix(tx: Transaction, prefix: str, limit: int = 6) -> list[DeploymentRow]:
    """Deployments whose id starts with `prefix` (case matters), newest first, at most `limit`."""
    return await tx.rows(
        "SELECT * FROM deployments WHERE starts_with(id, %s) ORDER BY created_at DESC, id DESC LIMIT %s",
        (prefix, limit),
        DeploymentRow,
    )


async def page(
    tx: Transaction,
    project: str,
    *,
    environment: str | None,
    statuses: Sequence[str] | None,
    since: datetime | None,
    before: tuple[datetime, str] | None,
    limit: int,
) -> list[DeploymentRow]:
    """A page of a project's deployments, newest first. `environment`: those that were made for it, or went there; `statuses`: stored ones;
    `before`: (created_at, id) of the last one seen."""
    return await tx.rows(
        """
        SELECT * FROM deployments
        WHERE project = %(project)s
          AND (%(environment)s::text IS NULL OR environment = %(environment)s OR EXISTS (
              SELECT FROM rollouts r WHERE r.deployment = deployments.id AND r.environment = %(environment)s AND r.kind <> 'robot'))
          AND (%(statuses)s::text[] IS NULL OR status = ANY(%(statuses)s))
          AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
          AND (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s))
        ORDER BY created_at DESC, id DESC LIMIT %(limit)s
        """,
        {
            "project": project,
            "environment": environment,
            "statuses": None if statuses is None else list(statuses),
            "since": since,
            "before_at": before[0] if before else None,
            "before_id": before[1] if before else None,
            "limit": limit,
        },
        DeploymentRow,
    )


async def cancel(tx: Transaction, id: str, *, why: str, now: datetime) -> bool:
    """Makes a deployment that is queued or building canceled; its builder notices. False: it was neither."""
    done = await tx.execute(
        """
        UPDATE deployments SET status = 'canceled', error = %s, finished_at = %s
        WHERE id = %s AND status IN ('queued', 'building')
        """,
        (why, now, id),
    )
    await tx.notify("builds", id)
    return done.rowcount == 1


async def set_rollout(tx: Transaction, id: str, rollout: RolloutId) -> None:
    """Notes the newest rollout of a deployment."""
    await tx.execute("UPDATE deployments SET rollout = %s WHERE id = %s", (rollout, id))


async def meant(
    tx: Transaction,
    project: str,
    environment: str,
    *,
    id_prefix: str,
    versions: Sequence[str],
    commit_prefix: str,
    ids: Sequence[str] = (),
) -> list[DeploymentRow]:
    """What a selector may mean in a project: all that were ever live in the environment, and those whose id or commit starts so
    (empty: none), that have one of these versions, or are among `ids`."""
    return await tx.rows(
        """
        SELECT * FROM deployments WHERE project = %(project)s AND (
            id IN (SELECT deployment FROM activations WHERE project = %(project)s AND environment = %(environment)s)
            OR (%(id)s <> '' AND starts_with(id, %(id)s)) OR version = ANY(%(versions)s) OR id = ANY(%(ids)s)
            OR (%(commit)s <> '' AND starts_with(commit_sha, %(commit)s)))
        """,
        {
            "project": project,
            "environment": environment,
            "id": id_prefix,
            "versions": list(versions),
            "commit": commit_prefix,
            "ids": list(ids),
        },
        DeploymentRow,
    )


async def built_of(tx: Transaction, project: str, commit: str) -> DeploymentRow | None:
    """The newest of the project that was built out of this commit (whole)."""
    return await tx.row(
        "SELECT * FROM deployments WHERE project = %s AND commit_sha = %s AND status = 'built' AND package_hash IS NOT NULL "
        "ORDER BY created_at DESC, id LIMIT 1",
        (project, commit),
        DeploymentRow,
    )
