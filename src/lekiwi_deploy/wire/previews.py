"""Previews: a branch gets robots of a pool for a time; they run again what they ran before when that is over."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One robot of a preview. `home`: the environment that it goes back to."""

    robot: RobotId
    home: EnvironmentName
    since: datetime
    until: datetime


class PreviewView(msgspec.Struct, frozen=True, kw_only=True):
    """One preview. `pool`: where its robots come from; `wants` so many, for `lease_s` since the last push, `until` then. `live`: what runs on them;
    `waits`: what goes live as soon as it has one; `waits_since`: its place in the queue (None: it does not queue), `ahead` previews before it;
    `free_at`: when the next robot comes free by itself; `why`: what else keeps robots from it."""

    environment: EnvironmentName
    project: ProjectName
    branch: str
    pool: EnvironmentName
    wants: int
    leases: tuple[Lease, ...]
    live: DeploymentId | None
    waits: DeploymentId | None = None
    ahead: int | None = None
    free_at: datetime | None = None
    opened_at: datetime
    opened_by: str
    lease_s: float = 0.0
    until: datetime | None = None
    waits_since: datetime | None = None
    why: str = ""
    schema: str = "lekiwi.preview/1"


class Previews(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    previews: tuple[PreviewView, ...]
    schema: str = "lekiwi.previews/1"


class OpenPreview(msgspec.Struct, frozen=True, kw_only=True):
    """For a branch that was pushed. `lease_s`, `robots` None: as its pool says."""

    branch: str
    lease_s: float | None = None
    robots: int | None = None
    reason: str = ""


class ExtendPreview(msgspec.Struct, frozen=True, kw_only=True):
    """Its robots stay for so long from now."""

    lease_s: float
    reason: str = ""
