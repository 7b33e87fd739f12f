"""The building side of deployments: claims, what came of a build, its output, and what it needs to know of robots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lekiwi_deploy.server.store import logs
from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName
from lekiwi_deploy.wire.platforms import Platform


async def claim(tx: Transaction, replica: str, now: datetime, until: datetime) -> DeploymentRow | None:
    """Takes the oldest deployment that waits for a builder, or whose builder is gone; pushes are built by their own hook.

    The claim holds until `until`, unless it is renewed.
    """
    return await tx.row(
        """
        UPDATE deployments SET status = 'building', claimed_by = %(replica)s, claim_until = %(until)s
        WHERE id = (
            SELECT id FROM deployments
            WHERE (status = 'queued' AND source <> 'push') OR (status = 'building' AND source <> 'push' AND claim_until < %(now)s)
            ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
        ) RETURNING *
        """,
        {"replica": replica, "now": now, "until": until},
        DeploymentRow,
    )


async def renew(tx: Transaction, id: DeploymentId, replica: str, until: datetime) -> bool:
    """Holds the claim until `until`. False: the deployment is not ours to build any more (canceled, or claimed by another)."""
    done = await tx.execute(
        "UPDATE deployments SET claim_until = %s WHERE id = %s AND claimed_by = %s AND status = 'building'",
        (until, id, replica),
    )
    return done.rowcount == 1


async def status(tx: Transaction, id: DeploymentId) -> str | None:
    """The stored status."""
    return await tx.row("SELECT status FROM deployments WHERE id = %s", (id,), str)


async def reusable(tx: Transaction, project: ProjectName, input_digest: str) -> DeploymentRow | None:
    """The newest deployment that was built from the same inputs."""
    return await tx.row(
        """
        SELECT * FROM deployments WHERE project = %s AND input_digest = %s AND package_hash IS NOT NULL AND status = 'built'
        ORDER BY created_at DESC LIMIT 1
        """,
        (project, input_digest),
        DeploymentRow,
    )


async def last_manifest(tx: Transaction, project: ProjectName) -> ManifestDigest | None:
    """The manifest of the project's newest built deployment."""
    return await tx.row(
        "SELECT package_hash FROM deployments WHERE project = %s AND package_hash IS NOT NULL AND status = 'built' "
        "ORDER BY created_at DESC LIMIT 1",
        (project,),
        ManifestDigest,
    )


async def finish(
    tx: Transaction,
    id: DeploymentId,
    replica: str,
    *,
    now: datetime,
    stack: str,
    input_digest: str,
    digest: ManifestDigest,
    key: str,
    manifest_size: int,
    files: int,
    bytes: int,
    build_s: float,
    test_s: float | None,
    tests: str | None,
    metadata: DeploymentMetadata,
    variables: tuple[str, ...] | None,
) -> bool:
    """Makes the deployment `built`. `variables`: names that its services declare, None: noted before. False: it is not ours any more, and
    nothing changed."""
    done = await tx.execute(
        """
        UPDATE deployments SET status = 'built', finished_at = %s, stack = %s, input_digest = %s, package_hash = %s, package_url = %s,
            manifest_size = %s, files = %s, bytes = %s, build_s = %s, test_s = %s, tests = %s, metadata = %s,
            claimed_by = NULL, claim_until = NULL
        WHERE id = %s AND claimed_by = %s AND status = 'building'
        """,
        (
            now,
            stack,
            input_digest,
            digest,
            key,
            manifest_size,
            files,
            bytes,
            build_s,
            test_s,
            tests,
            jsonb(metadata),
            id,
            replica,
        ),
    )
    if done.rowcount != 1:
        return False
    await tx.execute(
        "INSERT INTO manifests (digest, project, size, created_at, variables) "
        "SELECT %s, project, %s, %s, %s FROM deployments WHERE id = %s "
        "ON CONFLICT (digest) DO UPDATE SET variables = COALESCE(manifests.variables, EXCLUDED.variables)",
        (digest, manifest_size, now, None if variables is None else list(variables), id),
    )
    return True


async def fail(tx: Transaction, id: DeploymentId, why: str, now: datetime) -> bool:
    """Makes a deployment that is building `failed`. False: it was not building."""
    done = await tx.execute(
        "UPDATE deployments SET status = 'failed', error = %s, finished_at = %s, claimed_by = NULL, claim_until = NULL "
        "WHERE id = %s AND status = 'building'",
        (why, now, id),
    )
    return done.rowcount == 1


async def set_source(
    tx: Transaction,
    id: DeploymentId,
    *,
    commit: str,
    version: str,
    branch: str | None,
    ref: str | None,
    author: str,
    message: str,
) -> None:
    """Fills in what a name (branch, tag, commit) turned out to mean; what the asker gave stays."""
    await tx.execute(
        """
        UPDATE deployments SET commit_sha = %s, version = CASE WHEN version IN ('', '0.0.0') THEN %s ELSE version END,
            branch = coalesce(branch, %s), ref = coalesce(%s, ref), author = coalesce(author, %s), message = coalesce(message, %s)
        WHERE id = %s
        """,
        (commit, version, branch, ref, author, message, id),
    )


async def set_version(tx: Transaction, id: DeploymentId, version: str) -> None:
    """Notes what the project's files say its version is."""
    await tx.execute("UPDATE deployments SET version = %s WHERE id = %s", (version, id))


async def abandoned_pushes(tx: Transaction, now: datetime) -> list[DeploymentId]:
    """Pushes that nobody builds any more: their claim ran out."""
    return await tx.rows(
        "SELECT id FROM deployments WHERE status = 'building' AND source = 'push' AND claim_until < %s",
        (now,),
        DeploymentId,
    )


async def platforms(tx: Transaction, project: ProjectName, environment: EnvironmentName | None) -> list[Platform]:
    """The platforms of the robots that joined the environment (None: any of the project); a preview may get any robot of its pool."""
    return await tx.rows(
        "SELECT DISTINCT p.* FROM robots, jsonb_to_record(platform) AS p(system text, arch text, libc text, libc_version text, python text) "
        "WHERE project = %(project)s AND platform IS NOT NULL "
        "AND (%(environment)s::text IS NULL OR environment = %(environment)s OR environment IN "
        "(SELECT pool FROM previews v WHERE v.project = robots.project AND v.environment = %(environment)s))",
        {"project": project, "environment": environment},
        Platform,
    )


async def store_output(
    tx: Transaction, project: ProjectName, deployment: DeploymentId, step: str, lines: Sequence[str], now: datetime
) -> None:
    """Keeps lines that a build wrote as logs of no robot. Hints `logs`."""
    await logs.append(
        tx,
        [
            logs.NewLine(
                project=project, robot=None, service=step, deployment=deployment, at=now, stream="out", text=line
            )
            for line in lines
        ],
        now,
    )
