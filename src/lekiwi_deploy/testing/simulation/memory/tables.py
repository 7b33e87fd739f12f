"""The tables that a conductor and robots' links need, and transactions over them that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.quarantines import Quarantine
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome, Report
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.progress import Progress
from lekiwi_deploy.wire.reasons import Reason

K = TypeVar("K")
V = TypeVar("V")
_MISSING: Any = object()


class RobotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `robots`, as far as it is needed here."""

    name: RobotId
    project: ProjectName
    environment: EnvironmentName
    labels: dict[str, str] = {}
    public_key: bytes | None = None
    joined_at: datetime | None = None
    platform: Platform | None = None
    desired: DeploymentId | None = None
    generation: int = 0
    by_hand: bool = False
    pinned_by: str | None = None
    pinned_at: datetime | None = None
    force: bool = False
    forced_by: str | None = None
    resume: bool = False
    anytime: bool = False
    session: str | None = None
    boot_id: str | None = None
    previous_boots: tuple[str, ...] = ()
    contender: str | None = None
    contender_at: datetime | None = None
    cloned_at: datetime | None = None
    last_seen_at: datetime | None = None
    report: Report | None = None
    deferring_since: datetime | None = None
    drained_by: str | None = None
    drained_at: datetime | None = None
    drained_why: str | None = None
    unplaced: str | None = None


class EnvironmentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `environments`."""

    policy: Policy | None = None
    live: DeploymentId | None = None
    live_rollout: RolloutId | None = None
    frozen: bool = False


class AskedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `rollout_robots`."""

    status: str = "pending"
    previous: DeploymentId | None = None
    generation: int | None = None
    assigned_at: datetime | None = None
    confirmed_at: datetime | None = None
    outcome: Outcome | None = None
    waiting: tuple[Reason, ...] = ()
    look_at: datetime | None = None
    step: int | None = None


class ActivationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `activations`."""

    project: str
    environment: str
    deployment: DeploymentId
    rollout: RolloutId
    since: datetime
    until: datetime | None = None
    good: int = 0
    healthy: int = 0
    total: int = 0


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `audit`."""

    actor: str
    action: str
    target: str
    detail: Mapping[str, object]


Place = tuple[str, str]


@dataclass
class Tables:
    """All rows. `changes`: names of robots that were written, in order: the index is the cursor of `changed`."""

    epoch: int = 1
    robots: dict[str, RobotRecord] = field(default_factory=dict)
    environments: dict[Place, EnvironmentRecord] = field(default_factory=dict)
    deployments: dict[str, DeploymentRow] = field(default_factory=dict)
    rollouts: dict[str, RolloutRow] = field(default_factory=dict)
    keys: dict[str, RolloutId] = field(default_factory=dict)
    asked: dict[str, dict[RobotId, AskedRecord]] = field(default_factory=dict)
    activations: dict[int, ActivationRecord] = field(default_factory=dict)
    quarantines: dict[tuple[str, str, str], Quarantine] = field(default_factory=dict)
    progress: dict[str, list[Progress]] = field(default_factory=dict)
    closed: dict[str, bool] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)
    ran: list[tuple[str, str, str]] = field(default_factory=list)
    changes: list[RobotId] = field(default_factory=list)


class Writes:
    """What one transaction wrote, so that it can be undone; and the hints that follow when it stands."""

    def __init__(self, tables: Tables, *, written: Callable[[], None] = lambda: None) -> None:
        """`written`: called before each write; what it raises ends the transaction."""
        self.tables = tables
        self._written = written
        self.hints: dict[tuple[str, str], None] = {}
        self._undo: list[Callable[[], object]] = []

    def put(self, table: dict[K, V], key: K, row: V) -> None:
        """Writes one row."""
        self._written()
        before = table.get(key, _MISSING)
        table[key] = row
        if before is _MISSING:
            self._undo.append(lambda: table.pop(key))
        else:
            self._undo.append(lambda: table.__setitem__(key, before))

    def drop(self, table: dict[K, V], key: K) -> None:
        """Removes one row."""
        before = table.pop(key)
        self._undo.append(lambda: table.__setitem__(key, before))

    def append(self, table: list[V], row: V) -> None:
        """Adds one row to a table that only grows."""
        table.append(row)
        self._undo.append(table.pop)

    def robot(self, name: str, **columns: Any) -> None:
        """Writes these columns of a robot."""
        before = self.tables.robots[name]
        after = msgspec.structs.replace(before, **columns)
        self.put(self.tables.robots, name, after)
        if _matters(before, after):
            self.append(self.tables.changes, after.name)

    def asked(self, rollout: str, robot: RobotId, **columns: Any) -> None:
        """Writes these columns of a robot in a rollout."""
        rows = self.tables.asked[rollout]
        self.put(rows, robot, msgspec.structs.replace(rows[robot], **columns))
        self.append(self.tables.changes, robot)

    def asks(self, rollout: str, robot: RobotId, row: AskedRecord | None) -> None:
        """Adds a robot to a rollout, or (None) removes it."""
        if row is None:
            self.drop(self.tables.asked[rollout], robot)
        else:
            self.put(self.tables.asked[rollout], robot, row)
        self.append(self.tables.changes, robot)

    def undo(self) -> None:
        """Nothing of it was written."""
        while self._undo:
            self._undo.pop()()
        self.hints.clear()


_LOOKED_AT = (
    "project", "environment", "labels", "joined_at", "platform", "desired", "generation", "by_hand", "pinned_by", "pinned_at", "cloned_at",
    "deferring_since", "drained_by", "drained_at", "drained_why", "unplaced",
)  # fmt: skip


def _matters(before: RobotRecord, after: RobotRecord) -> bool:
    """Whether a plan may come out otherwise, as the triggers of schema.sql see it."""
    if (before.session is None) != (after.session is None):
        return True
    if before.report is not after.report:
        told = [
            None if one is None else msgspec.structs.replace(one, number=0) for one in (before.report, after.report)
        ]
        if told[0] != told[1]:
            return True
    return any(getattr(before, name) != getattr(after, name) for name in _LOOKED_AT)
