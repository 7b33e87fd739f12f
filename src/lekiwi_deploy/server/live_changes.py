"""The history of what becomes live: each deployment that does is a change with how to take it back."""

from __future__ import annotations

import msgspec

from lekiwi_deploy.fleet.undoing import Frost, LiveAgain
from lekiwi_deploy.server.origin import origin
from lekiwi_deploy.server.store import audit, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RolloutId


async def live_before(tx: Transaction, deployment: DeploymentId, environment: str) -> LiveAgain | None:
    """How to take it back that `deployment` becomes live; None: there is no such environment, or it is live already. Locks the environment."""
    place = await tx.row("SELECT project FROM deployments WHERE id = %s", (deployment,), str)
    live = await rollouts.lock_environment(tx, place, environment) if place is not None else None
    if live is None or place is None:
        return None
    return LiveAgain(
        environment=EnvironmentName(environment),
        before=live.live,
        after=deployment,
        frost=await frost_of(tx, place, environment),
    )


async def frost_of(tx: Transaction, project: str, environment: str) -> Frost | None:
    """The freeze of the environment, if it is frozen."""
    return await tx.row(
        "SELECT freeze_by AS by, freeze_at AS at, COALESCE(freeze_why, '') AS why FROM environments "
        "WHERE project = %s AND name = %s AND freeze_at IS NOT NULL",
        (project, environment),
        Frost,
    )


async def record_live(
    tx: Transaction, again: LiveAgain, rollout: RolloutId, *, by: str, reason: str, force: bool
) -> int | None:
    """Notes that `again.after` became live by this rollout, if it did so only now; the number of the change."""

    class Came(msgspec.Struct, frozen=True):
        project: str
        version: str
        new: bool
        origin: str | None

    came = await tx.one(
        """
        SELECT r.project, d.version, r.xmin = pg_current_xact_id()::xid AS new,
            (SELECT a.origin FROM audit a WHERE a.target = concat_ws('/', 'project', d.project, d.environment, d.id)
             AND a.action = 'deployment.create' ORDER BY a.seq DESC LIMIT 1) AS origin
        FROM rollouts r JOIN deployments d ON d.id = r.deployment WHERE r.id = %s
        """,
        (rollout,),
        Came,
    )
    if not came.new:
        return None
    return await audit.record(
        tx,
        by,
        "environment.deploy",
        f"project/{came.project}/{again.environment}",
        {"to": again.after, "version": came.version, "from": again.before, "rollout": rollout, "force": force},
        reason=reason.split("\n", 1)[0],
        undo=again,
        origin=came.origin or origin(),
    )
