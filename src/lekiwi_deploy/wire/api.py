"""What the HTTP API takes and gives. Every response object carries `schema`; times are aware; sizes in bytes.

Errors of any route are an `ErrorBody` with the status of `errors.HTTP_STATUS`.

Long because it is the one list of the API's first nouns, which clients read from top to bottom; those with a topic of their own have a module each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.ids import (
    DeploymentId,
    EnvironmentName,
    ManifestDigest,
    ObjectDigest,
    ProjectName,
    RobotId,
    RolloutId,
    UploadId,
)
from lekiwi_deploy.wire.link import AgentState, Outcome, Phase, Pin, Running, ServiceReport
from lekiwi_deploy.wire.manifest import FileEntry
from lekiwi_deploy.wire.pace import Pace
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.reasons import Drained, Reason, Unplaced
from lekiwi_deploy.wire.rollouts import RolloutCourse


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is a key of `errors.HTTP_STATUS`."""

    code: str
    message: str
    next: tuple[str, ...] = ()
    details: dict[str, object] = {}
    schema: str = "lekiwi.error/1"


class Role(StrEnum):
    """What a token may do; each may do all that the ones before it may."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    OWNER = "owner"


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`server` is its lasting id; no token needed."""

    server: str
    version: str
    protocol: int
    schema: str = "lekiwi.server/1"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether requests can be served. `not_ready` names what cannot be used (`database`, `store`) and why."""

    ready: bool
    not_ready: Mapping[str, str] = {}
    schema: str = "lekiwi.readiness/1"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token is."""

    name: str
    role: Role
    token: str
    expires_at: datetime | None
    schema: str = "lekiwi.identity/1"


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """`name` says whose or what for; `days` until it expires, at most 365."""

    name: str
    role: Role = Role.DEPLOYER
    days: int = 90


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is safe to show; `secret` only in the answer that made it."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    secret: str | None = None
    schema: str = "lekiwi.token/1"


class NewProject(msgspec.Struct, frozen=True):
    """A project's name, see `ids.checked_name`."""

    name: str


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """Automatic deployment stands still since `at`."""

    by: str
    at: datetime
    why: str


class FreezeRequest(msgspec.Struct, frozen=True):
    """Why automatic deployment should stand still."""

    reason: str = ""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """`configured` false: nobody wrote a policy, so the defaults hold. Counts are of robots now. `live`: the deployment that is live in it.
    `defer_limit_s`: the longest that its robots may put a deployment off before people are told. `preview`: the branch that it is the preview of,
    with robots `until` then; `lent`: so many of its robots are at previews."""

    name: EnvironmentName
    project: ProjectName
    branch: str | None
    configured: bool
    auto_deploy: bool
    health_checks: str
    rollback_on_error: bool | str
    live: DeploymentId | None
    freeze: Freeze | None
    robots: int
    online: int
    healthy: int
    defer_limit_s: float = 4 * 3600.0
    policy: Policy = Policy()
    preview: str | None = None
    until: datetime | None = None
    lent: int = 0
    schema: str = "lekiwi.environment/1"


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """`git` is the path of its remote below the server's URL: `/git/<name>.git`. `branches`: patterns and what each goes to (an environment or
    group), in order, as lekiwi.yaml says."""

    name: ProjectName
    created_at: datetime
    git: str
    environments: tuple[Environment, ...] = ()
    branches: tuple[tuple[str, str], ...] = ()
    schema: str = "lekiwi.project/1"


class DeploymentStatus(StrEnum):
    """Where a deployment stands. Final: failed, canceled. `built` waits for its ref, an approval or the end of a freeze;
    `rolling`, `live`, `partial`, `rolled_back`, `replaced` follow its newest rollout."""

    QUEUED = "queued"
    BUILDING = "building"
    BUILT = "built"
    ROLLING = "rolling"
    LIVE = "live"
    PARTIAL = "partial"
    ROLLED_BACK = "rolled_back"
    REPLACED = "replaced"
    FAILED = "failed"
    CANCELED = "canceled"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Robots of an environment or rollout. `live` + `pending` + `failed` + those under way = `total`."""

    total: int = 0
    live: int = 0
    pending: int = 0
    failed: int = 0


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable release and where it stands. `active`: it is what some environment (the one that was asked about) wants now; `live_in`:
    which ones do. `source`: push, upload, ref or redeploy. `waiting`: what keeps a built one from going live; `aliases`: its labels (both
    empty where they were not asked for)."""

    id: DeploymentId
    project: ProjectName
    environment: EnvironmentName | None
    version: str
    status: DeploymentStatus
    active: bool
    created_at: datetime
    commit: str | None = None
    branch: str | None = None
    author: str | None = None
    message: str | None = None
    by: str
    digest: ManifestDigest | None = None
    stack: str | None = None
    bytes: int = 0
    files: int = 0
    error: str | None = None
    rollout: RolloutId | None = None
    robots: Counts = Counts()
    build_s: float | None = None
    test_s: float | None = None
    tests: str | None = None
    url: str = ""
    live_in: tuple[EnvironmentName, ...] = ()
    source: str = ""
    waiting: tuple[Reason, ...] = ()
    aliases: tuple[str, ...] = ()
    schema: str = "lekiwi.deployment/1"


class Deployments(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first; `cursor` goes on where this page ended. `freezes`: environments that are frozen."""

    deployments: tuple[Deployment, ...]
    cursor: str | None = None
    environments: tuple[Environment, ...] = ()
    schema: str = "lekiwi.deployments/1"


class NewDeployment(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of `upload` (what `lekiwi deploy` sent) and `ref` (a branch, tag or commit of the project's repository).
    `environment` None: the only one with robots, else an error with the choices. `pace`: how fast it goes to robots, in place of the
    environment's policy (with `force`) or at most as fast as that. `min_success` (percent), `skip_offline`: in place of the policy's."""

    upload: UploadId | None = None
    ref: str | None = None
    environment: str | None = None
    message: str | None = None
    version: str | None = None
    commit: str | None = None
    branch: str | None = None
    author: str | None = None
    meta: Mapping[str, str] = {}
    force: bool = False
    roll_out: bool = True
    pace: Pace | None = None
    min_success: float | None = None
    skip_offline: bool | None = None


class NewUpload(msgspec.Struct, frozen=True):
    """The files of a directory, paths relative to it."""

    files: tuple[FileEntry, ...]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """`missing`: the objects that the server does not have yet, to be sent as one pack stream."""

    id: UploadId
    missing: tuple[ObjectDigest, ...]
    schema: str = "lekiwi.upload/1"


class RobotStatus(StrEnum):
    """A robot in a rollout. Settled: healthy, good, rolled_back, failed, held, superseded."""

    PENDING = "pending"  # not asked yet, or offline: `waiting` says why
    ASSIGNED = "assigned"
    FETCHING = "fetching"
    SWITCHING = "switching"
    HEALTHY = "healthy"
    GOOD = "good"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    HELD = "held"  # pinned by hand, or quarantined here
    SUPERSEDED = "superseded"


class RolloutStatus(StrEnum):
    """Settled: done, partial, rolled_back, failed, superseded, canceled."""

    ROLLING = "rolling"
    DONE = "done"  # every robot that is online confirmed it
    PARTIAL = "partial"  # some did, some failed
    ROLLED_BACK = "rolled_back"  # none did; they run what they ran before
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELED = "canceled"


class RobotInRollout(msgspec.Struct, frozen=True, kw_only=True):
    """How one robot fares. `confirmed_at`: when the server stored that it runs the digest, healthy."""

    robot: RobotId
    status: RobotStatus
    running: DeploymentId | None
    outcome: Outcome | None
    assigned_at: datetime | None
    confirmed_at: datetime | None
    waiting: tuple[Reason, ...] = ()


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: deploy, rollback or robot (one robot moved by hand). `previous`: what the environment ran before. `course`: of one that is
    gradual, paused or stopped."""

    id: RolloutId
    project: ProjectName
    environment: EnvironmentName
    deployment: DeploymentId
    kind: str
    status: RolloutStatus
    by: str
    reason: str
    created_at: datetime
    finished_at: datetime | None
    previous: DeploymentId | None
    counts: Counts
    robots: tuple[RobotInRollout, ...] = ()
    course: RolloutCourse | None = None
    schema: str = "lekiwi.rollout/1"


class DeploymentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment with its newest rollout."""

    deployment: Deployment
    rollout: Rollout | None
    services: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    meta: Mapping[str, str] = {}
    schema: str = "lekiwi.deployment-detail/1"


class NewRobot(msgspec.Struct, frozen=True, kw_only=True):
    """`group`: an environment, or the group of exactly one: the robot gets the labels that put it there. Neither: an
    environment of that name is made."""

    name: str
    group: str
    labels: Mapping[str, str] = {}


class RobotJoin(msgspec.Struct, frozen=True, kw_only=True):
    """A join token for a robot: single use, until `expires_at`. `command`: the line to run on a robot that has the agent; `url`:
    where the robot is to find the server; `environment`, `labels`: as it has them."""

    robot: RobotId
    token: str
    expires_at: datetime
    command: str
    url: str = ""
    environment: str = ""
    labels: Mapping[str, str] = {}
    schema: str = "lekiwi.robot-join/1"


class RobotPatch(msgspec.Struct, frozen=True, kw_only=True):
    """Labels to set; None removes one."""

    labels: Mapping[str, str | None] = {}


class Robot(msgspec.Struct, frozen=True, kw_only=True):
    """One robot: who it is, what is wanted of it, what it last reported. `healthy` None: it runs nothing yet. `out`: it takes no part in what
    becomes of its environment (drained, or its labels fit none); `placed`: why it is in its environment, empty: a person put it there."""

    name: RobotId
    project: ProjectName
    environment: EnvironmentName
    labels: Mapping[str, str]
    joined_at: datetime | None
    online: bool
    last_seen_at: datetime | None
    agent: str | None = None
    hostname: str | None = None
    platform: Platform | None = None
    desired: DeploymentId | None = None
    generation: int = 0
    observed_generation: int = 0
    phase: Phase | None = None
    running: Running | None = None
    outcome: Outcome | None = None
    services: tuple[ServiceReport, ...] = ()
    pin: Pin | None = None
    waiting: tuple[Reason, ...] = ()
    retained: int = 0
    agent_state: AgentState | None = None
    out: Drained | Unplaced | None = None
    placed: str = ""
    schema: str = "lekiwi.robot/1"


class Robots(msgspec.Struct, frozen=True, kw_only=True):
    """By name. `agent`: the release of the agent that this server gives to robots, if it has one ready; `agent_version`: its version."""

    robots: tuple[Robot, ...]
    agent: str | None = None
    agent_version: str | None = None
    schema: str = "lekiwi.robots/1"


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """From the robot, with its enrolment token. `public_key`: Ed25519, base64."""

    token: str
    public_key: str
    hostname: str
    agent: str
    platform: Platform


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """Who the robot is from now on. `update_key`: hex, for what the server wants of its agent (wire/agent_proof.py)."""

    robot: RobotId
    project: ProjectName
    environment: EnvironmentName
    server: str
    update_key: str = ""
    schema: str = "lekiwi.joined/1"


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One log line as stored. `cursor` goes on after it; `robot` None: a build."""

    cursor: str
    at: datetime
    robot: RobotId | None
    service: str
    deployment: DeploymentId | None
    stream: str
    text: str
    level: str | None = None
    schema: str = "lekiwi.log/1"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """One change: by whom, to what, why. `text`: it in a sentence, without the actor; `origin`: from where, address and program; `undo`: the
    command that takes it back, empty when nothing does; `undone_by`: the change that did; `undoes`: the change that this one took back."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: Mapping[str, object] = {}
    text: str = ""
    origin: str = ""
    reason: str = ""
    undo: str = ""
    undone_by: int | None = None
    undoes: int | None = None
    schema: str = "lekiwi.activity/1"
