"""A robot's desired state as the link sends it: the row, its environment's policy, its variables, and a ticket for the content."""

from __future__ import annotations

import msgspec

from lekiwi_deploy.fleet.policy import trial_policy
from lekiwi_deploy.server import tickets
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store.sessions import DesiredRow
from lekiwi_deploy.wire.agent_proof import proof, update_key
from lekiwi_deploy.wire.link import AgentWanted, DeploymentRef, Desired
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.variables import SealedVariables


def desired_of(context: Context, row: DesiredRow, variables: SealedVariables | None) -> Desired:
    """What is wanted of the robot now, with a fresh ticket. `variables`: what `Vault.for_robots` gives it with that row."""
    policy = row.policy or Policy()
    ref: DeploymentRef | None = None
    ticket: str | None = None
    if row.id is not None and row.package_hash is not None and row.created_at is not None:
        ref = DeploymentRef(
            id=row.id,
            digest=row.package_hash,
            manifest_size=row.manifest_size or 0,
            version=row.version or "",
            created_at=row.created_at,
            commit=row.commit_sha,
            branch=row.branch,
            author=row.author,
        )
        ticket = tickets.issue(context.ticket_key, row.robot, row.package_hash, context.now())
    return Desired(
        epoch=row.epoch,
        generation=row.generation,
        environment=row.environment,
        deployment=ref,
        policy=trial_policy(policy, anytime=row.anytime),
        ticket=ticket,
        by_hand=row.by_hand,
        force=row.force,
        resume=row.resume,
        agent=_agent(context, row),
        variables=variables,
    )


def _agent(context: Context, row: DesiredRow) -> AgentWanted | None:
    if row.agent_wanted is None or row.public_key is None:
        return None
    key = update_key(context.ticket_key, row.robot, row.public_key)
    return msgspec.structs.replace(row.agent_wanted, proof=proof(key, row.robot, row.agent_wanted))
