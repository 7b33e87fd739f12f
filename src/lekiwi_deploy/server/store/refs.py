"""What pushes and the ref reconciler need: who builds a ref now, and what waits for its ref."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName


class Holder(msgspec.Struct, frozen=True):
    """The push that builds a ref at the moment."""

    id: str
    created_by: str
    created_at: datetime


async def lock(tx: Transaction, project: ProjectName, ref: str) -> None:
    """Lets one transaction at a time decide about a ref."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4907))", (f"{project} {ref}",))


async def holder(tx: Transaction, project: ProjectName, ref: str, now: datetime) -> Holder | None:
    """The push that holds `ref`: it is being built and its claim has not run out."""
    return await tx.row(
        "SELECT id, created_by, created_at FROM deployments WHERE project = %s AND ref = %s AND source = 'push' "
        "AND status = 'building' AND claim_until >= %s ORDER BY created_at DESC LIMIT 1",
        (project, ref, now),
        Holder,
    )


async def waiting(tx: Transaction, project: ProjectName) -> list[DeploymentRow]:
    """Built pushes that never went to an environment, newest first."""
    return await tx.rows(
        "SELECT * FROM deployments WHERE project = %s AND source = 'push' AND status = 'built' AND rollout IS NULL AND roll_out "
        "AND environment IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT 200",
        (project,),
        DeploymentRow,
    )


async def projects_with_waiting(tx: Transaction) -> list[ProjectName]:
    """Projects with a built push that never went anywhere."""
    return await tx.rows(
        "SELECT DISTINCT project FROM deployments WHERE source = 'push' AND status = 'built' AND rollout IS NULL AND roll_out "
        "AND environment IS NOT NULL",
        None,
        ProjectName,
    )


async def went_further(tx: Transaction, project: ProjectName, environment: EnvironmentName, after: datetime) -> bool:
    """Whether something newer than `after` already went to the environment: what waited is superseded."""
    return (
        await tx.row(
            "SELECT 1 FROM deployments WHERE project = %s AND environment = %s AND created_at > %s AND rollout IS NOT NULL LIMIT 1",
            (project, environment, after),
            int,
        )
        is not None
    )


async def give_up(tx: Transaction, id: str) -> None:
    """A built push is not to go live any more: its ref moved on."""
    await tx.execute("UPDATE deployments SET roll_out = false WHERE id = %s", (id,))


async def of_push(tx: Transaction, project: ProjectName, ref: str, commit: str) -> DeploymentRow | None:
    """The newest deployment that a push of `commit` to `ref` made."""
    return await tx.row(
        "SELECT * FROM deployments WHERE project = %s AND ref = %s AND commit_sha = %s AND source = 'push' AND status = 'built' "
        "ORDER BY created_at DESC LIMIT 1",
        (project, ref, commit),
        DeploymentRow,
    )
