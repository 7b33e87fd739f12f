"""What waits for people before it goes live, and what they said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.approvals import ApprovalRequest, Vote
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName
from lekiwi_deploy.wire.policy import RolloutStep


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the rollout is started once it is approved. `push`: a push, which stands still while its environment is frozen; `steps`: in place
    of the policy's, as somebody asked; `again`: it is another rollout though it went there before."""

    reason: str = ""
    force: bool = False
    push: bool = False
    again: bool = False
    steps: tuple[RolloutStep, ...] | None = None


class RequestRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `approval_requests`, with the deployment's version."""

    id: str
    project: ProjectName
    environment: EnvironmentName
    deployment: DeploymentId
    version: str
    digest: ManifestDigest
    kind: str
    asked_by: str
    asked_at: datetime
    author: str | None
    needed: int
    not_author: bool
    expires_at: datetime
    options: Options = Options()
    ended: str | None = None
    ended_at: datetime | None = None


class _VoteRow(msgspec.Struct, frozen=True):
    request: str
    by_whom: str
    approved: bool
    at: datetime
    reason: str


_REQUESTS = "SELECT a.*, d.version FROM approval_requests a JOIN deployments d ON d.id = a.deployment"


async def insert(tx: Transaction, row: RequestRow) -> None:
    """Stores a new request. The caller looked, with the environment locked, that none is open for the same deployment there."""
    await tx.execute(
        """
        INSERT INTO approval_requests
            (id, project, environment, deployment, digest, kind, asked_by, asked_at, author, needed, not_author, expires_at, options)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            row.id,
            row.project,
            row.environment,
            row.deployment,
            row.digest,
            row.kind,
            row.asked_by,
            row.asked_at,
            row.author,
            row.needed,
            row.not_author,
            row.expires_at,
            jsonb(row.options),
        ),
    )
    await tx.notify("approvals", row.id)


async def newest(tx: Transaction, project: str, environment: str, deployment: str) -> RequestRow | None:
    """The request of this deployment in the environment that was made last, whatever came of it."""
    return await tx.row(
        f"{_REQUESTS} WHERE a.project = %s AND a.environment = %s AND a.deployment = %s ORDER BY a.asked_at DESC, a.id LIMIT 1",
        (project, environment, deployment),
        RequestRow,
    )


async def of_deployment(tx: Transaction, deployment: str) -> list[RequestRow]:
    """All requests of a deployment, newest first."""
    return await tx.rows(
        f"{_REQUESTS} WHERE a.deployment = %s ORDER BY a.asked_at DESC, a.id", (deployment,), RequestRow
    )


async def open_of(tx: Transaction, deployments: Sequence[str]) -> list[RequestRow]:
    """What waits for people of these deployments, oldest first."""
    return await tx.rows(
        f"{_REQUESTS} WHERE a.deployment = ANY(%s) AND a.ended IS NULL ORDER BY a.asked_at, a.id",
        (list(deployments),),
        RequestRow,
    )


async def listed(
    tx: Transaction, project: str, environment: str | None = None, *, ended: bool = False, limit: int = 200
) -> list[RequestRow]:
    """What waits in the project (and environment); with `ended` also what did, the newest `limit`. Oldest first."""
    rows = await tx.rows(
        f"{_REQUESTS} WHERE a.project = %s AND (%s::text IS NULL OR a.environment = %s) AND (a.ended IS NULL OR %s) "
        "ORDER BY a.asked_at DESC, a.id LIMIT %s",
        (project, environment, environment, ended, limit),
        RequestRow,
    )
    return rows[::-1]


async def overdue(tx: Transaction, now: datetime) -> list[RequestRow]:
    """Those whose time is over and that nobody ended, locked; others look at them meanwhile are left to those."""
    return await tx.rows(
        f"{_REQUESTS} WHERE a.ended IS NULL AND a.expires_at <= %s FOR UPDATE OF a SKIP LOCKED", (now,), RequestRow
    )


async def older(
    tx: Transaction, project: str, environment: str, deployment: str, created_at: datetime
) -> list[RequestRow]:
    """What waits in the environment and is moot when `deployment`, made at `created_at`, goes there: itself, and what was made before it."""
    return await tx.rows(
        f"{_REQUESTS} WHERE a.project = %s AND a.environment = %s AND a.ended IS NULL AND (a.deployment = %s OR d.created_at < %s)",
        (project, environment, deployment, created_at),
        RequestRow,
    )


async def end(tx: Transaction, request: str, how: str, now: datetime) -> None:
    """Ends it, unless it has ended."""
    await tx.execute(
        "UPDATE approval_requests SET ended = %s, ended_at = %s WHERE id = %s AND ended IS NULL", (how, now, request)
    )
    await tx.notify("approvals", request)


async def vote(tx: Transaction, request: str, said: Vote) -> None:
    """What a person said last counts."""
    await tx.execute(
        """
        INSERT INTO approval_votes (request, by_whom, approved, at, reason) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (request, by_whom) DO UPDATE SET approved = excluded.approved, at = excluded.at, reason = excluded.reason
        """,
        (request, said.by, said.approved, said.at, said.reason),
    )


async def views(tx: Transaction, rows: Sequence[RequestRow]) -> list[ApprovalRequest]:
    """The requests as the API shows them, with their votes, in the order of `rows`."""
    if not rows:
        return []
    found = await tx.rows(
        "SELECT request, by_whom, approved, at, reason FROM approval_votes WHERE request = ANY(%s) ORDER BY at, by_whom",
        ([row.id for row in rows],),
        _VoteRow,
    )
    votes: dict[str, list[Vote]] = {}
    for one in found:
        votes.setdefault(one.request, []).append(
            Vote(by=one.by_whom, approved=one.approved, at=one.at, reason=one.reason)
        )
    return [
        ApprovalRequest(
            id=row.id,
            project=row.project,
            environment=row.environment,
            deployment=row.deployment,
            version=row.version,
            digest=row.digest,
            kind=row.kind,
            asked_by=row.asked_by,
            asked_at=row.asked_at,
            author=row.author,
            needed=row.needed,
            not_author=row.not_author,
            expires_at=row.expires_at,
            votes=tuple(votes.get(row.id, ())),
            ended=row.ended,
            ended_at=row.ended_at,
        )
        for row in rows
    ]
