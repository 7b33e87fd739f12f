"""Labels of deployments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.changes import Alias
from lekiwi_deploy.wire.ids import DeploymentId


class AliasRow(msgspec.Struct, frozen=True, kw_only=True):
    """One label, with its deployment's version."""

    name: str
    deployment: DeploymentId
    version: str
    by_whom: str
    at: datetime

    @property
    def shown(self) -> Alias:
        """As the API shows it."""
        return Alias(name=self.name, deployment=self.deployment, version=self.version, by=self.by_whom, at=self.at)


class _Label(msgspec.Struct, frozen=True):
    deployment: str
    name: str


_ALIASES = "SELECT a.*, d.version FROM aliases a JOIN deployments d ON d.id = a.deployment WHERE a.project = %s"


async def listed(tx: Transaction, project: str) -> list[AliasRow]:
    """All labels of the project, by name."""
    return await tx.rows(f"{_ALIASES} ORDER BY a.name", (project,), AliasRow)


async def read(tx: Transaction, project: str, name: str) -> AliasRow | None:
    """The label of exactly this name."""
    return await tx.row(f"{_ALIASES} AND a.name = %s", (project, name), AliasRow)


async def of_deployments(tx: Transaction, deployments: Sequence[str]) -> dict[str, list[str]]:
    """The labels of these deployments, by deployment."""
    found: dict[str, list[str]] = {}
    for one in await tx.rows(
        "SELECT deployment, name FROM aliases WHERE deployment = ANY(%s) ORDER BY name", (list(deployments),), _Label
    ):
        found.setdefault(one.deployment, []).append(one.name)
    return found


async def put(tx: Transaction, project: str, name: str, deployment: str, by: str, now: datetime) -> None:
    """The label names `deployment` from now on."""
    await tx.execute(
        """
        INSERT INTO aliases (project, name, deployment, by_whom, at) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (project, name) DO UPDATE SET deployment = excluded.deployment, by_whom = excluded.by_whom, at = excluded.at
        """,
        (project, name, deployment, by, now),
    )


async def remove(tx: Transaction, project: str, name: str) -> None:
    """The label is gone."""
    await tx.execute("DELETE FROM aliases WHERE project = %s AND name = %s", (project, name))
