"""What the conductor looks at: all robots of a rollout at first, then those that something was written of, and those whose time has come.

What it keeps from step to step is only to be quick. Which robots were written is told by the store, whoever wrote them; a step that does not stand
leaves nothing here; and now and then everything is read anew all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.fleet.rollout import Fleet, Seen
from lekiwi_deploy.server.conducting_store import ConductingStore
from lekiwi_deploy.server.store.conducting import OpenRollout, SeenRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.reasons import Drained, Pinned, Unplaced

ANEW = timedelta(minutes=5)
"""How long a fleet is kept; notes of what was written are kept for longer than that."""
_MOST = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout's robots as they were read up to `cursor`, all of them at `at`."""

    fleet: Fleet
    cursor: str
    at: datetime


class Memory:
    """Fleets of the rollouts that were looked at last."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def take(self, id: str) -> Kept | None:
        """What is kept of the rollout, and is not any more."""
        return self._kept.pop(id, None)

    def keep(self, id: str, kept: Kept) -> None:
        """Keeps it; drops what was not looked at for longest."""
        self._kept[id] = kept
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]


async def look(store: ConductingStore, rollout: OpenRollout, kept: Kept | None, now: datetime) -> Kept:
    """The rollout's robots as they are now; makes them those of its environment first, if that follows it."""
    followed = rollout.active and rollout.kind != "robot"
    if kept is None or not timedelta(0) <= now - kept.at < ANEW:
        cursor = (await store.changed(None)).cursor
        if followed:
            await store.settle(rollout.id, rollout.project, rollout.environment)
        fleet = Fleet(rollout.id)
        fleet.update(map(seen_of, await store.seen(rollout.id)))
        return Kept(fleet, cursor, now)
    changed = await store.changed(kept.cursor)
    names: set[RobotId] = {*changed.names, *kept.fleet.due(now)}
    if names:
        if followed:
            await store.settle(rollout.id, rollout.project, rollout.environment, sorted(names))
        rows = await store.seen(rollout.id, sorted(names))
        kept.fleet.update(map(seen_of, rows), gone=names - {row.robot for row in rows})
    return Kept(kept.fleet, changed.cursor, kept.at)


def pin_of(row: SeenRow | RobotRow) -> Pinned | None:
    """Where a person on the server holds the robot."""
    if not row.by_hand or row.desired is None or row.pinned_at is None:
        return None
    return Pinned(row.desired, row.pinned_by or "", row.pinned_at)


def seen_of(row: SeenRow) -> Seen:
    """The row as the plan takes it."""
    return Seen(
        id=row.robot,
        status=RobotStatus(row.status),
        joined=row.joined,
        online=row.online,
        last_seen_at=row.last_seen_at,
        platform=row.platform,
        cloned_at=row.cloned_at,
        pin=pin_of(row),
        generation=row.generation,
        assigned=row.assigned,
        assigned_at=row.assigned_at,
        report=row.report,
        outcome=row.outcome,
        waiting=row.waiting,
        deferring_since=row.deferring_since,
        labels=row.labels,
        out=_out(row),
        confirmed=row.confirmed,
    )


def _out(row: SeenRow) -> Drained | Unplaced | None:
    if row.drained_by is not None and row.drained_at is not None:
        return Drained(by=row.drained_by, since=row.drained_at, why=row.drained_why or "")
    return None if row.unplaced is None else Unplaced(environment=row.environment, selects=row.unplaced)
