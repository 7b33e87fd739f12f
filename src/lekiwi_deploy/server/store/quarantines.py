"""What failed in an environment and is not offered there again, until a person forces it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment in one environment. `lifted_by` None: it holds."""

    deployment: DeploymentId
    why: str
    rollout: RolloutId | None
    at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


async def put(tx: Transaction, rollout: RolloutRow, why: str, now: datetime) -> None:
    """What this rollout brings has failed: again, if a person had lifted it."""
    await tx.execute(
        """
        INSERT INTO quarantines (project, environment, deployment, why, rollout, at) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (project, environment, deployment) DO UPDATE
            SET why = excluded.why, rollout = excluded.rollout, at = excluded.at, lifted_by = NULL, lifted_at = NULL
        """,
        (rollout.project, rollout.environment, rollout.deployment, why, rollout.id, now),
    )


async def holding(tx: Transaction, project: str, environment: str, deployment: str) -> Quarantine | None:
    """Why the deployment may not go to the environment."""
    return await tx.row(
        "SELECT * FROM quarantines WHERE project = %s AND environment = %s AND deployment = %s AND lifted_at IS NULL",
        (project, environment, deployment),
        Quarantine,
    )


async def listed(tx: Transaction, project: str, environment: str) -> list[Quarantine]:
    """Those that hold, newest first."""
    return await tx.rows(
        "SELECT * FROM quarantines WHERE project = %s AND environment = %s AND lifted_at IS NULL ORDER BY at DESC",
        (project, environment),
        Quarantine,
    )


async def lift(tx: Transaction, project: str, environment: str, deployment: str, by: str, now: datetime) -> None:
    """A person wants it all the same."""
    await tx.execute(
        "UPDATE quarantines SET lifted_by = %s, lifted_at = %s "
        "WHERE project = %s AND environment = %s AND deployment = %s AND lifted_at IS NULL",
        (by, now, project, environment, deployment),
    )
