"""A new deployment of what was built before: the same content with the variables of now, or the same source built again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from lekiwi_deploy.errors import Conflict, NotFound
from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.server.approving import go_live
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import deployments, progress, uploads
from lekiwi_deploy.server.store.approvals import Options
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.wire.approvals import ApprovalRequest
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RolloutId, base62
from lekiwi_deploy.wire.policy import RolloutStep
from lekiwi_deploy.wire.progress import Note

SOURCE = "redeploy"


@dataclass(frozen=True, slots=True)
class Redeployed:
    """The new deployment, and its rollout or the request that it waits for. Neither: it is to be built first (`rebuild`)."""

    row: DeploymentRow
    rollout: RolloutId | None
    request: ApprovalRequest | None


async def redeploy(
    tx: Transaction,
    context: Context,
    *,
    of: DeploymentId,
    environment: EnvironmentName,
    by: str,
    reason: str = "",
    message: str | None = None,
    rebuild: bool = False,
    force: bool = False,
    going_back: bool = False,
    way: Way = Way.REDEPLOY,
    steps: tuple[RolloutStep, ...] | None = None,
    idempotency_key: str | None = None,
) -> Redeployed:
    """Makes a new deployment of `of`'s manifest and has it go live in the environment under its policy, with the variables of now.

    `rebuild`: its commit or upload is built anew instead, whatever was built before. `going_back`: it is a way back, so it waits for no
    approval, step or window, but for `steps`, if given. `way`: how it was asked for. Raises `NotFound` and `Conflict` (no such deployment,
    never built, its source is gone), and as `start_rollout`.
    """
    before = await deployments.read(tx, of)
    if before is None:
        raise NotFound(f"there is no deployment {of}", next=("lekiwi list",))
    row = await _made(tx, context, before, environment, by, message, rebuild=rebuild, force=force, key=idempotency_key)
    await deployments.insert(tx, row)
    if rebuild:
        return Redeployed(row, None, None)
    note = f"{before.id} {before.version} again: nothing is built, the variables are those of now"
    await progress.append(tx, row.id, [Note(note)], context.now())
    if going_back:
        rollout = await start_rollout(
            tx,
            context,
            deployment_id=row.id,
            environment=environment,
            kind="rollback",
            by=by,
            reason=reason,
            force=force,
            steps=steps,
        )
        return Redeployed(msgspec.structs.replace(row, rollout=rollout), rollout, None)
    came = await go_live(tx, context, row, environment, way, by=by, options=Options(reason=reason, force=force))
    return Redeployed(msgspec.structs.replace(row, rollout=came.rollout), came.rollout, came.request)


async def _made(
    tx: Transaction,
    context: Context,
    before: DeploymentRow,
    environment: EnvironmentName,
    by: str,
    message: str | None,
    *,
    rebuild: bool,
    force: bool,
    key: str | None,
) -> DeploymentRow:
    now = context.now()
    row = msgspec.structs.replace(
        before,
        id=DeploymentId(f"dep_{base62(context.random(16), 8)}"),
        environment=environment,
        message=message if message is not None else before.message,
        created_by=by,
        created_at=now,
        source=SOURCE,
        roll_out=True,
        force=force,
        metadata=DeploymentMetadata(  # its pace, and whom it waits for, are the environment's
            meta=before.metadata.meta, services=before.metadata.services, platforms=before.metadata.platforms
        ),
        error=None,
        rollout=None,
        claimed_by=None,
        claim_until=None,
        idempotency_key=key,
    )
    if not rebuild:
        if before.status != "built" or before.package_hash is None:
            raise Conflict(
                f"{before.id} is {before.status}, not built: --rebuild builds it again",
                next=(f"lekiwi redeploy {before.id} --rebuild",),
            )
        return msgspec.structs.replace(row, finished_at=now)
    await _check_source(tx, before)
    return msgspec.structs.replace(
        row,
        status="queued",
        stack=None,
        input_digest=None,
        package_hash=None,
        package_url=None,
        manifest_size=0,
        files=0,
        bytes=0,
        build_s=None,
        test_s=None,
        tests=None,
        finished_at=None,
    )


async def _check_source(tx: Transaction, before: DeploymentRow) -> None:
    """A commit is kept with the project's repository, an upload for a while."""
    if before.upload is not None and await uploads.read(tx, before.upload) is None:
        raise Conflict(
            f"what was uploaded for {before.id} is not kept any more (it is for a day, and while it is live): deploy that folder again, or "
            "leave --rebuild out",
            next=("lekiwi deploy", f"lekiwi redeploy {before.id}"),
        )
    if before.upload is None and before.commit_sha is None and before.ref is None:
        raise Conflict(f"{before.id} has no source that could be built again", next=(f"lekiwi redeploy {before.id}",))
