"""What `lekiwi-agent` commands and the running agent say to each other on the robot: one JSON line each way over a Unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from lekiwi_deploy.wire.holds import Hold
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.link import Report


class StatusPlease(msgspec.Struct, frozen=True, tag="status", tag_field="ask"):
    """How is this robot? Answered by `RobotHere`."""


class RollBackPlease(msgspec.Struct, frozen=True, kw_only=True, tag="rollback", tag_field="ask"):
    """Go back to `to` (a deployment's id, a unique beginning of it, or a version; None: the previous good one) and stay there.
    Answered by `Moved` once it is healthy or failed, at most `timeout_s` later."""

    to: str | None
    by: str
    why: str = ""
    timeout_s: float = 60.0


class ResumePlease(msgspec.Struct, frozen=True, kw_only=True, tag="resume", tag_field="ask"):
    """End the pin. Answered by `Moved`, at once."""

    by: str


class AlivePlease(msgspec.Struct, frozen=True, tag="alive", tag_field="ask"):
    """Does the agent do its work? Answered by `Alive` within seconds."""


Ask = StatusPlease | RollBackPlease | ResumePlease | AlivePlease


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment on the robot. `state` as in robot/slots.py."""

    id: DeploymentId
    version: str
    created_at: datetime
    state: str
    live: bool
    commit: str | None = None
    branch: str | None = None
    author: str | None = None
    why: str | None = None


class RobotHere(msgspec.Struct, frozen=True, kw_only=True, tag="robot", tag_field="answer"):
    """`link`: connected, or why not, in one line. `deployments`: newest first. `wanted`: what is to run. `holds`: who says "not now", oldest
    first, whether or not a switch waits for it. `since`: when each reason of `report.waiting` was first there, by `reasons.key`. `traffic`:
    what brings connections to services (`nftables`, `relay`) and why it is that one, or what is wrong with it; empty: there are none."""

    robot: RobotId
    project: ProjectName
    environment: EnvironmentName
    server: str
    agent: str
    pid: int
    link: str
    linked: bool
    report: Report
    deployments: tuple[Held, ...] = ()
    wanted: DeploymentId | None = None
    holds: tuple[Hold, ...] = ()
    since: Mapping[str, datetime] = {}
    traffic: str = ""
    schema: str = "lekiwi.robot-here/1"


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag="moved", tag_field="answer"):
    """What came of it. `deployment` runs now, after `before`; `healthy` None: not known yet. `text` one line, `undo` a command."""

    deployment: DeploymentId | None
    before: DeploymentId | None
    version: str
    changed: bool
    healthy: bool | None
    text: str
    undo: str = ""
    seconds: float = 0.0
    schema: str = "lekiwi.moved/1"


class NotDone(msgspec.Struct, frozen=True, kw_only=True, tag="error", tag_field="answer"):
    """`code` as in errors.py."""

    code: str
    message: str
    next: tuple[str, ...] = ()


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive", tag_field="answer"):
    """`release`: None: it was not installed below /opt/lekiwi/agent. `turns`: its reconcile loop came round, or is at a step. `link`: as in
    `RobotHere`."""

    release: str | None
    pid: int
    turns: bool
    linked: bool
    link: str


Answer = RobotHere | Moved | NotDone | Alive
