"""Why robots do not run what is wanted of them, in order, with what would clear it; and what happened on them lately."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.link import Phase
from lekiwi_deploy.wire.reasons import Reason


class HeldBack(msgspec.Struct, frozen=True, kw_only=True):
    """One reason. `text` says it, `clears` what would end it, each in a line with times in UTC; `since`: when the server saw it first, or
    when it began as far as that is known."""

    reason: Reason
    text: str
    clears: str
    since: datetime | None


class RobotEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened on a robot. `at`: by its own clock, which may be wrong; `told_at`: when the server stored it."""

    seq: int
    at: datetime
    told_at: datetime
    kind: str
    text: str
    deployment: DeploymentId | None = None
    service: str | None = None


class PastWait(msgspec.Struct, frozen=True, kw_only=True):
    """What held robots back from `since` until `until` (None: it does now). `text`: as it was seen last, with times in UTC; of one robot, or of
    `robots` that waited for the same, of which `names` are the first."""

    reason: Reason
    text: str
    since: datetime
    until: datetime | None
    robots: int = 1
    names: tuple[RobotId, ...] = ()


class RobotEvents(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `cursor` goes on where this page ended, None: there are no more."""

    robot: RobotId
    events: tuple[RobotEvent, ...]
    cursor: int | None = None
    schema: str = "lekiwi.robot-events/1"


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """One robot: what it runs, what is wanted of it, and why that is not the same. `there`: it runs what is wanted, healthy, and nothing
    holds it. Of a robot that is offline everything is as it last said. `reasons`: in order, the first is what to look at first.
    `deferring_since`: it holds off what is wanted of it since then; `overdue_since`: that is longer than its environment allows, since
    then. `events`: newest first; `past`: what held it back before, newest first; `placed`: why it is in its environment, empty: a person put it
    there."""

    robot: RobotId
    project: ProjectName
    environment: EnvironmentName
    online: bool
    last_seen_at: datetime | None
    there: bool
    phase: Phase | None
    healthy: bool | None
    running: DeploymentId | None
    running_version: str
    wanted: DeploymentId | None
    wanted_version: str
    reasons: tuple[HeldBack, ...]
    defer_limit_s: float
    deferring_since: datetime | None = None
    overdue_since: datetime | None = None
    events: tuple[RobotEvent, ...] = ()
    past: tuple[PastWait, ...] = ()
    placed: str = ""
    schema: str = "lekiwi.why/1"


class Whys(msgspec.Struct, frozen=True, kw_only=True):
    """Robots that are not where they should be, by name; of an environment, a deployment or a rollout. `text`: what is to be said of that
    itself; `reasons`: what holds it back as a whole (a freeze, an approval); `total`: how many robots it has; `past`: what held robots back before,
    those that waited for the same together, newest first."""

    project: ProjectName
    environment: EnvironmentName | None
    text: str
    total: int
    robots: tuple[Why, ...]
    reasons: tuple[HeldBack, ...] = ()
    deployment: DeploymentId | None = None
    rollout: RolloutId | None = None
    past: tuple[PastWait, ...] = ()
    schema: str = "lekiwi.whys/1"
