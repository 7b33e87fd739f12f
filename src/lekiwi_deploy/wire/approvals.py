"""Approving what is to go live: what waits for people, and what they said. An approval binds to the manifest digest."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """What one person said. `approved` false: rejected, which ends the request."""

    by: str
    approved: bool
    at: datetime
    reason: str = ""


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`deployment` waits to go live in `environment`. `kind`: what it does once approved (`deploy`, `promote`, `alias`, `redeploy`);
    `needed`: different people in all; `not_author`: `author` and `asked_by` do not count; `ended`: approved, rejected, expired, superseded;
    None: it waits."""

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
    votes: tuple[Vote, ...] = ()
    ended: str | None = None
    ended_at: datetime | None = None
    schema: str = "lekiwi.approval/1"


class ApprovalRequests(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first."""

    requests: tuple[ApprovalRequest, ...]
    schema: str = "lekiwi.approvals/1"


class Say(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word on a deployment. `environment` None: the only one in which it waits. `digest`: what they looked at (None: whatever it
    is); another one is refused."""

    environment: str | None = None
    digest: str | None = None
    reason: str = ""
