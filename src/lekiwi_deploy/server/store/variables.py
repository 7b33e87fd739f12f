"""Variables as rows: append-only versions, and which revision went live with what.

Versions of a project are written under a lock of its row, so that their numbers rise in the order of commits: what holds at a revision
never changes once somebody could read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RobotId
from lekiwi_deploy.wire.policy import Policy

_VERSION = "id AS revision, scope, of, name, sealed, secret, fingerprint, by_whom AS by, at"


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A row to be added. `sealed` None: the name is removed."""

    scope: str
    of: str
    name: str
    sealed: bytes | None
    secret: bool
    fingerprint: str


class LivePlace(msgspec.Struct, frozen=True, kw_only=True):
    """An environment as variables see it. `live_revision` None: nothing is live there. `live_reads`, `newest_reads`: names that the services of
    what is live, or of the newest that was built for it, declare (None: there is none, or it was not looked up yet)."""

    environment: EnvironmentName
    preview: bool
    policy: Policy | None
    live: DeploymentId | None
    live_branch: str | None
    live_revision: int | None
    live_reads: tuple[str, ...] | None
    live_services: tuple[str, ...]
    newest_branch: str | None
    newest_reads: tuple[str, ...] | None
    newest_services: tuple[str, ...]


class PlacedRobot(msgspec.Struct, frozen=True, kw_only=True):
    """Where a robot is."""

    name: RobotId
    environment: EnvironmentName
    labels: dict[str, str]


class RunningRobot(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot runs, as variables see it. `revision`: that its deployment is bound to there; `reads`: names that its services declare."""

    robot: RobotId
    environment: EnvironmentName
    labels: dict[str, str]
    branch: str | None
    revision: int
    reads: tuple[str, ...] | None


async def lock(tx: Transaction, project: str) -> None:
    """Only one change of the project's variables at a time."""
    await tx.execute("SELECT FROM projects WHERE name = %s FOR NO KEY UPDATE", (project,))


async def revision(tx: Transaction, project: str) -> int:
    """The newest of the project; 0: there never was a variable."""
    return await tx.one("SELECT COALESCE(max(id), 0) FROM variables WHERE project = %s", (project,), int)


async def at_revision(tx: Transaction, project: str, revision: int) -> list[Version]:
    """The newest version of each name in each scope up to `revision`, also where that is a removal."""
    return await tx.rows(
        f"""
        SELECT DISTINCT ON (scope, of, name) {_VERSION} FROM variables
        WHERE project = %s AND id <= %s ORDER BY scope, of, name, id DESC
        """,
        (project, revision),
        Version,
    )


async def history(tx: Transaction, project: str, name: str | None, limit: int) -> list[Version]:
    """All versions, newest first."""
    return await tx.rows(
        f"SELECT {_VERSION} FROM variables WHERE project = %(project)s AND (%(name)s::text IS NULL OR name = %(name)s) "
        "ORDER BY id DESC LIMIT %(limit)s",
        {"project": project, "name": name, "limit": limit},
        Version,
    )


async def add(tx: Transaction, project: str, versions: Iterable[NewVersion], by: str, now: datetime) -> int:
    """Adds versions in this order; the project's newest revision. `lock` it first."""
    for version in versions:
        await tx.execute(
            "INSERT INTO variables (project, scope, of, name, sealed, secret, fingerprint, by_whom, at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                project,
                version.scope,
                version.of,
                version.name,
                version.sealed,
                version.secret,
                version.fingerprint,
                by,
                now,
            ),
        )
    return await revision(tx, project)


async def any_sealed(tx: Transaction) -> bool:
    """Whether the installation has a value that was sealed with a key."""
    return await tx.row("SELECT 1 FROM variables WHERE length(sealed) > 0 LIMIT 1", None, int) is not None


async def bind(tx: Transaction, project: str, environment: str, deployment: str, now: datetime) -> None:
    """Makes the revision of now go with `deployment` in this environment, unless one does already: that stays, for good."""
    await tx.execute(
        """
        INSERT INTO releases (project, environment, deployment, variables, at)
        SELECT %(project)s, %(environment)s, %(deployment)s, COALESCE(max(id), 0), %(now)s FROM variables WHERE project = %(project)s
        ON CONFLICT DO NOTHING
        """,
        {"project": project, "environment": environment, "deployment": deployment, "now": now},
    )


async def bound(tx: Transaction, project: str, environment: str, deployment: str) -> int | None:
    """The revision that goes with `deployment` in this environment; None: it never went live there."""
    return await tx.row(
        "SELECT variables FROM releases WHERE project = %s AND environment = %s AND deployment = %s",
        (project, environment, deployment),
        int,
    )


async def places(tx: Transaction, project: str) -> list[LivePlace]:
    """The project's environments, by name."""
    return await tx.rows(
        """
        SELECT e.name AS environment, p.environment IS NOT NULL AS preview, e.policy, e.live, d.branch AS live_branch,
            CASE WHEN e.live IS NULL THEN NULL ELSE COALESCE(r.variables, 0) END AS live_revision,
            m.variables AS live_reads, COALESCE(d.metadata -> 'services', '[]'::jsonb) AS live_services,
            n.branch AS newest_branch, n.reads AS newest_reads, COALESCE(n.services, '[]'::jsonb) AS newest_services
        FROM environments e
        LEFT JOIN previews p ON (p.project, p.environment) = (e.project, e.name)
        LEFT JOIN deployments d ON d.id = e.live
        LEFT JOIN manifests m ON m.digest = d.package_hash
        LEFT JOIN releases r ON (r.project, r.environment, r.deployment) = (e.project, e.name, e.live)
        LEFT JOIN LATERAL (
            SELECT newest.branch, nm.variables AS reads, newest.metadata -> 'services' AS services
            FROM deployments newest LEFT JOIN manifests nm ON nm.digest = newest.package_hash
            WHERE newest.project = e.project AND newest.environment = e.name AND newest.status = 'built'
            ORDER BY newest.created_at DESC, newest.id DESC LIMIT 1
        ) n ON true
        WHERE e.project = %s ORDER BY e.name
        """,
        (project,),
        LivePlace,
    )


async def placed(tx: Transaction, project: str) -> list[PlacedRobot]:
    """The project's robots, by name."""
    return await tx.rows(
        "SELECT name, environment, labels FROM robots WHERE project = %s ORDER BY name", (project,), PlacedRobot
    )


async def running(tx: Transaction, project: str, below: int) -> list[RunningRobot]:
    """Robots that run something that went live before revision `below`, by name."""
    return await tx.rows(
        """
        SELECT r.name AS robot, COALESCE(own.environment, r.environment) AS environment, r.labels, d.branch,
            COALESCE(own.variables, 0) AS revision, m.variables AS reads
        FROM robots r JOIN deployments d ON d.id = r.running LEFT JOIN manifests m ON m.digest = d.package_hash
        LEFT JOIN LATERAL (
            SELECT l.environment, l.variables FROM releases l WHERE l.project = r.project AND l.deployment = r.running
                AND l.environment IN (r.environment, r.variables_environment)
            ORDER BY (l.environment = r.variables_environment AND r.variables_deployment = r.running) IS TRUE DESC,
                l.environment = r.environment DESC LIMIT 1
        ) own ON true
        WHERE r.project = %s AND COALESCE(own.variables, 0) < %s ORDER BY r.name
        """,
        (project, below),
        RunningRobot,
    )


async def not_looked_up(tx: Transaction, project: str) -> list[str]:
    """Digests of manifests of which it is not known what they declare, of what is live, runs, or was built last in the project."""
    return await tx.rows(
        """
        SELECT DISTINCT m.digest FROM manifests m JOIN deployments d ON d.package_hash = m.digest AND d.project = %(project)s
        WHERE m.variables IS NULL AND (
            d.id IN (SELECT live FROM environments WHERE project = %(project)s)
            OR d.id IN (SELECT running FROM robots WHERE project = %(project)s)
            OR d.id IN (SELECT desired FROM robots WHERE project = %(project)s)
            OR d.id IN (SELECT DISTINCT ON (environment) id FROM deployments WHERE project = %(project)s AND status = 'built'
                        ORDER BY environment, created_at DESC, id DESC))
        """,
        {"project": project},
        str,
    )


async def set_declared(tx: Transaction, digest: str, names: Collection[str]) -> None:
    """Notes what a manifest's services declare."""
    await tx.execute("UPDATE manifests SET variables = %s WHERE digest = %s", (sorted(names), digest))


async def forget_values(tx: Transaction) -> int:
    """Empties every value, of all versions: their key is lost. How many."""
    return (await tx.execute("UPDATE variables SET sealed = '' WHERE length(sealed) > 0")).rowcount


class SealedRow(Version, frozen=True, kw_only=True):
    """A version with its project."""

    project: str


async def all_sealed(tx: Transaction) -> list[SealedRow]:
    """Every version of all projects that has a value."""
    return await tx.rows(
        f"SELECT project, {_VERSION} FROM variables WHERE length(sealed) > 0 ORDER BY id", None, SealedRow
    )


async def set_sealed(tx: Transaction, revision: int, sealed: bytes, fingerprint: str) -> None:
    """The same value, sealed with another key."""
    await tx.execute(
        "UPDATE variables SET sealed = %s, fingerprint = %s WHERE id = %s", (sealed, fingerprint, revision)
    )
