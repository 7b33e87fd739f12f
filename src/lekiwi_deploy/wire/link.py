"""What robot and server say to each other over the link: one WebSocket, opened by the robot, text frames of JSON.

Order: server `Challenge`; robot `Hello`; server `Welcome` (or `Refused` and close); then, in any order,
`Report`, `Records`, `TicketPlease` from the robot and `Desired`, `Ack`, `Ticket`, `Goodbye` from the server.
See docs/protocol.md.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, RobotId
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.reasons import Reason
from lekiwi_deploy.wire.variables import SealedVariables
from lekiwi_deploy.wire.windows import Windows

MAX_FRAME = 1_000_000
"""Bytes; a longer frame closes the link with 1009."""


class Stream(StrEnum):
    """The robot's two spools; sequence numbers rise from 1 within each and never repeat (there may be gaps)."""

    EVENTS = "events"
    LOGS = "logs"


class Phase(StrEnum):
    """What a robot is doing about its desired state."""

    IDLE = "idle"  # nothing to do
    FETCHING = "fetching"
    STAGED = "staged"  # complete and verified, not live
    SWITCHING = "switching"
    STARTING = "starting"  # live, changed services not yet ready
    TRIAL = "trial"  # healthy, not yet proven
    WAITING = "waiting"  # `Report.waiting` says for what


class Result(StrEnum):
    """How the latest attempt at a deployment ended."""

    HEALTHY = "healthy"  # its changed services are ready and their checks passed once
    GOOD = "good"  # the trial is over
    ROLLED_BACK = "rolled_back"  # failed; what ran before runs again
    FAILED = "failed"  # failed, and nothing else could be started instead


class ServiceState(StrEnum):
    """One service, as its supervisor sees it."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    BACKING_OFF = "backing_off"  # exited; restarts after a delay
    STOPPING = "stopping"


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """`deployment` is the slot that its process was started from. `detail`: why it is not ready, one line. `standby`: a second process
    of it is loaded, of this deployment."""

    name: str
    state: ServiceState
    deployment: DeploymentId | None
    pid: int | None = None
    restarts: int = 0
    since: datetime | None = None
    detail: str | None = None
    standby: DeploymentId | None = None


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What `current` names. `healthy` only when every service of it is ready now; `good` once its trial is over."""

    deployment: DeploymentId
    digest: ManifestDigest
    healthy: bool
    good: bool
    since: datetime


class SwitchKind(StrEnum):
    """How one service was changed over."""

    BLUE_GREEN = "blue_green"  # traffic moved to the new process, connections drained from the old
    WARM = "warm"  # the new process was loaded and waited for the hardware
    COLD = "cold"  # the old process stopped before the new one was started


class ServiceSwitch(msgspec.Struct, frozen=True, kw_only=True):
    """One service's part of a switch. `gap_ms`: from the last moment that the old one served (or used its hardware) to the first of the
    new one; 0 for blue-green; None: there was no old one, or it is not known. `why`: why it was cold though warm was asked for."""

    service: str
    kind: SwitchKind
    gap_ms: float | None = None
    why: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt at `deployment` ended, under desired-state `generation`.

    `switch_ms`: from the decision to activate to all changed services ready; `gap_ms`: the longest time that one service
    was down; `wire_bytes`: received for it; `ready_ms`: from desired state received to slot staged. `why` one line,
    `log` the last output lines of the service that failed.
    """

    deployment: DeploymentId
    digest: ManifestDigest
    generation: int
    result: Result
    at: datetime
    switch_ms: float | None = None
    gap_ms: float | None = None
    ready_ms: float | None = None
    wire_bytes: int = 0
    restarted: tuple[str, ...] = ()
    why: str | None = None
    log: tuple[str, ...] = ()
    switches: tuple[ServiceSwitch, ...] = ()


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """Taken back by hand on the robot; holds against older and equal desired deployments."""

    deployment: DeploymentId
    by: str
    at: datetime
    why: str = ""


class AgentPhase(StrEnum):
    """What a robot is doing about its own agent."""

    IDLE = "idle"  # it runs what is wanted of it, or nothing else is wanted
    FETCHING = "fetching"
    WAITING = "waiting"  # `AgentState.why` says for what
    TRIAL = "trial"  # the release that runs is watched, and may be replaced by the one before
    REFUSED = "refused"  # what is wanted failed here and is not tried again


class AgentState(msgspec.Struct, frozen=True, kw_only=True):
    """A robot's own agent. `release`: the one that runs; None: it was installed in a way in which it cannot replace itself. `wanted`:
    what the server wants instead, if anything. `why`: what it waits for, or why it went back, one line. `attempt`: of `wanted`."""

    release: str | None
    phase: AgentPhase = AgentPhase.IDLE
    wanted: str | None = None
    attempt: int = 0
    why: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report", tag_field="type"):
    """The robot's whole state, level-triggered: the newest report replaces all before it.

    `number` rises with each report within `boot`; the server drops one that is not above the last.
    `outcome` is the latest outcome of the desired deployment. `retained`: deployments that can run again without a download. `agent`:
    None from agents that know nothing of it.
    """

    number: int
    epoch: int
    generation: int
    phase: Phase
    running: Running | None = None
    outcome: Outcome | None = None
    services: tuple[ServiceReport, ...] = ()
    waiting: tuple[Reason, ...] = ()
    pin: Pin | None = None
    retained: tuple[DeploymentId, ...] = ()
    quarantined: tuple[DeploymentId, ...] = ()
    agent: AgentState | None = None


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello", tag_field="type"):
    """The robot's first message. `token`: see `assertion.py`; it names the robot. `last`: newest sequence number per stream."""

    protocol: int
    token: str
    agent: str
    hostname: str
    platform: Platform
    report: Report
    last: dict[Stream, int]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened on the robot, for its history. `kind` is a snake_case word: `outcome`, `started`, `exited`, `fetched`,
    `pinned`, `resumed`, `rolled_back`, `agent_started`, …; `text` one line for a person."""

    at: datetime
    kind: str
    text: str
    deployment: DeploymentId | None = None
    service: str | None = None
    outcome: Outcome | None = None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a service or the agent wrote. `stream`: out, err, hook or agent; invalid UTF-8 replaced, cut at 16 kB."""

    at: datetime
    service: str
    deployment: DeploymentId | None
    stream: str
    text: str
    level: str | None = None


class EventRecord(msgspec.Struct, frozen=True, array_like=True):
    """An event and its sequence number."""

    seq: int
    event: Event


class LogRecord(msgspec.Struct, frozen=True, array_like=True):
    """A log line and its sequence number."""

    seq: int
    line: LogLine


class EventRecords(msgspec.Struct, frozen=True, tag="events", tag_field="type"):
    """Events with rising numbers, oldest first; acknowledged by `Ack(events, last seq)` after they were committed."""

    records: tuple[EventRecord, ...]


class LogRecords(msgspec.Struct, frozen=True, tag="logs", tag_field="type"):
    """Log lines with rising numbers, oldest first. `dropped`: lines that the spool had to drop before the first of these."""

    records: tuple[LogRecord, ...]
    dropped: int = 0


class TicketPlease(msgspec.Struct, frozen=True, tag="ticket_please", tag_field="type"):
    """The content ticket has expired; another one is wanted for this manifest."""

    digest: ManifestDigest


FromRobot = Hello | Report | EventRecords | LogRecords | TicketPlease


class Challenge(msgspec.Struct, frozen=True, kw_only=True, tag="challenge", tag_field="type"):
    """The server's first message: sign `nonce` for audience `server`."""

    protocol: int
    server: str
    nonce: str


class TrialPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a robot judges a new deployment. `trial_s`: how long it must stay healthy after it became so, before it is good.
    `roll_back`: whether a failed one is replaced by what ran before (false: it is left as it is, held). `window`: when the robot may switch,
    None: at any time."""

    checks: str = "minimal"
    trial_s: float = 10.0
    starts: int = 3
    roll_back: bool = True
    window: Windows | None = None


class DeploymentRef(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot needs to know of a deployment beside its manifest; becomes the slot's metadata.json."""

    id: DeploymentId
    digest: ManifestDigest
    manifest_size: int
    version: str
    created_at: datetime
    commit: str | None = None
    branch: str | None = None
    author: str | None = None


class AgentWanted(msgspec.Struct, frozen=True, kw_only=True):
    """The release of the agent that a robot is to go over to. `digest`, `size`: SHA-256 and bytes of the archive that the server has at
    `path` for the robot's platform. `attempt` numbers what people asked for; `again`: also if it failed here in an earlier one.
    `proof`: that the server wants this, and nobody between it and the part of the agent that has rights (`wire/agent_proof.py`)."""

    release: str
    digest: str
    size: int
    path: str
    attempt: int
    again: bool = False
    proof: str = ""


class Desired(msgspec.Struct, frozen=True, kw_only=True, tag="desired", tag_field="type"):
    """What the server wants of this robot. `deployment` None: nothing yet, keep what runs.

    `by_hand`: a person asked for exactly this on this robot (rollback, `robots resume`): it replaces a pin. `force`: a person wants it over
    whatever would hold it back: a quarantine, holds, unmet conditions. `max_deployments`: how many are retained. `variables`: of the services
    of `deployment`, for this robot; None: there are none for it.
    """

    epoch: int
    generation: int
    environment: EnvironmentName
    deployment: DeploymentRef | None = None
    policy: TrialPolicy = TrialPolicy()
    ticket: str | None = None
    by_hand: bool = False
    force: bool = False
    resume: bool = False
    max_deployments: int = 100
    agent: AgentWanted | None = None
    variables: SealedVariables | None = None


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome", tag_field="type"):
    """The link stands. `acked`: newest sequence number stored per stream. `read_every_s`: slow timer for reports without change.
    `reconnect_max_s`: upper bound of the back-off, grows with the fleet."""

    robot: RobotId
    project: str
    acked: dict[Stream, int]
    desired: Desired
    read_every_s: float = 300.0
    reconnect_max_s: float = 60.0


class Ack(msgspec.Struct, frozen=True, tag="ack", tag_field="type"):
    """Everything up to and including `seq` is committed and may be forgotten."""

    stream: Stream
    seq: int


class Ticket(msgspec.Struct, frozen=True, kw_only=True, tag="ticket", tag_field="type"):
    """Lets this robot download what `digest` names until it expires."""

    digest: ManifestDigest
    ticket: str


class Goodbye(msgspec.Struct, frozen=True, kw_only=True, tag="goodbye", tag_field="type"):
    """The server is about to close; come back after `after_s` (and its jitter)."""

    why: str
    after_s: float


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused", tag_field="type"):
    """No link. `code` as in errors.py; `retry`: whether trying again later may help by itself."""

    code: str
    message: str
    retry: bool


FromServer = Challenge | Welcome | Desired | Ack | Ticket | Goodbye | Refused
