"""The agent that a server gives to robots, and how they go over to another release of it: what the HTTP API takes and gives."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId


class AgentRelease(msgspec.Struct, frozen=True, kw_only=True):
    """The agent that this server gives to robots. `release`: `0.1.0-ab12cd34`, the folder's name below /opt/lekiwi/agent; `lock`:
    SHA-256 of the list of every file that a bundle of this release may hold, on any platform, which a join line pins."""

    release: str
    version: str
    lock: str
    schema: str = "lekiwi.agent-release/1"


class AgentBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The archive that installs a release on robots of a platform. `digest`: SHA-256 of its bytes; `size` in bytes."""

    release: str
    platform: str
    digest: str
    size: int
    schema: str = "lekiwi.agent-bundle/1"


class UpgradeStatus(StrEnum):
    """How going over to a release of the agent fares."""

    ROLLING = "rolling"
    DONE = "done"  # every robot has it, or was skipped
    HALTED = "halted"  # it failed on one: nobody else is asked
    REPLACED = "replaced"  # a later one, or another release of the server, took its place


class UpgradeRobotStatus(StrEnum):
    """A robot in that."""

    PENDING = "pending"
    ASKED = "asked"  # it was told
    DONE = "done"  # it runs the release and keeps it
    FAILED = "failed"  # it went back to the one before, or was lost
    SKIPPED = "skipped"  # it cannot


class NewAgentUpgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Which robots are to go over: `robots` by name, else all of `project`, of its `environment` if one is given. `release`: a release or
    version, None: the server's; `again`: also where it failed before."""

    robots: tuple[RobotId, ...] = ()
    project: ProjectName | None = None
    environment: EnvironmentName | None = None
    release: str | None = None
    again: bool = False


class UpgradingRobot(msgspec.Struct, frozen=True, kw_only=True):
    """One robot of it. `before`: the release it had, or its agent's version; `why`: why it failed, was skipped, or what it waits for."""

    robot: RobotId
    status: UpgradeRobotStatus
    online: bool
    before: str | None = None
    why: str = ""


class AgentUpgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Robots going over to a release of the agent: one first, then more and more, none after the first failure."""

    id: int
    release: str
    status: UpgradeStatus
    by: str
    created_at: datetime
    robots: tuple[UpgradingRobot, ...]
    again: bool = False
    why: str = ""
    schema: str = "lekiwi.agent-upgrade/1"
