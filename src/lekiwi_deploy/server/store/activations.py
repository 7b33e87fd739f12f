"""What was live when: in environments (activations) and on each robot (the product's robot_deployments is a view of that)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.wire.ids import DeploymentId, RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome


class ActivationRow(msgspec.Struct, frozen=True, kw_only=True):
    """One interval; counts of robots on which it became good, was healthy, and all."""

    deployment: DeploymentId
    rollout: RolloutId | None
    since: datetime
    until: datetime | None
    good: int
    healthy: int
    total: int


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a deployment on a robot. `status`: healthy, good, rolled_back or failed; `rollback_from`: what it replaced by
    going back."""

    robot: RobotId
    status: str
    rollback_from: DeploymentId | None = None
    outcome: Outcome | None = None


async def close_open(tx: Transaction, project: str, environment: str, now: datetime) -> None:
    """Nothing is live in the environment from `now` on, until another one is opened."""
    await tx.execute(
        "UPDATE activations SET until = %s WHERE project = %s AND environment = %s AND until IS NULL",
        (now, project, environment),
    )


async def open_one(
    tx: Transaction, project: str, environment: str, deployment: str, rollout: str, now: datetime, total: int
) -> None:
    """`deployment` is live in the environment from `now` on; ends what was."""
    await close_open(tx, project, environment, now)
    await tx.execute(
        """
        INSERT INTO activations (project, environment, deployment, rollout, since, total, variables)
        VALUES (%(project)s, %(environment)s, %(deployment)s, %(rollout)s, %(now)s, %(total)s, COALESCE((
            SELECT variables FROM releases WHERE (project, environment, deployment) = (%(project)s, %(environment)s, %(deployment)s)), 0))
        """,
        {
            "project": project,
            "environment": environment,
            "deployment": deployment,
            "rollout": rollout,
            "now": now,
            "total": total,
        },
    )


async def count(tx: Transaction, rollout: str, *, good: int, healthy: int, total: int) -> None:
    """Notes how many robots of the rollout that opened an activation became good and healthy in it; these never fall."""
    await tx.execute(
        """
        UPDATE activations SET good = GREATEST(good, %(good)s), total = %(total)s, healthy = GREATEST(healthy, %(healthy)s)
        WHERE rollout = %(rollout)s
        """,
        {"rollout": rollout, "good": good, "healthy": healthy, "total": total},
    )


async def of_environment(tx: Transaction, project: str, environment: str) -> list[ActivationRow]:
    """All intervals of an environment, oldest first."""
    return await tx.rows(
        "SELECT * FROM activations WHERE project = %s AND environment = %s ORDER BY since, id",
        (project, environment),
        ActivationRow,
    )


async def record(tx: Transaction, deployment: str, ran: Sequence[Ran], now: datetime) -> None:
    """Adds to robots' histories what came of `deployment` on them, with what they measured."""
    if not ran:
        return
    given = {"ran": json_text(ran), "deployment": deployment, "now": now}
    await tx.execute(
        """
        INSERT INTO robot_activations (robot, deployment, deployed_at, status, health_status, rollback_from, outcome)
        SELECT robot, %(deployment)s, %(now)s, status, CASE WHEN status IN ('healthy', 'good') THEN 'healthy' ELSE 'unhealthy' END,
            rollback_from, NULLIF(outcome, 'null'::jsonb)
        FROM jsonb_to_recordset(%(ran)s::jsonb) AS ran(robot text, status text, rollback_from text, outcome jsonb)
        """,
        given,
    )
    await tx.execute(
        """
        INSERT INTO deployment_metrics (deployment_id, robot_id, metric_type, value, timestamp)
        SELECT %(deployment)s, robot, metric, (outcome ->> metric)::numeric, %(now)s
        FROM jsonb_to_recordset(%(ran)s::jsonb) AS ran(robot text, status text, outcome jsonb),
            unnest(ARRAY['switch_ms', 'gap_ms', 'ready_ms', 'wire_bytes']) AS metric
        WHERE status = 'healthy' AND outcome ->> metric IS NOT NULL
        """,
        given,
    )
