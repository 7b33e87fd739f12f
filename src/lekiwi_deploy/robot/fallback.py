"""Where to go back to: what ran before when it was proven, else the last good one, else the last healthy one. Never one that
failed here, never one whose files are not all here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment on this robot. Orders count the robot's own events, 0: never; so no clock decides."""

    state: SlotState
    first_live: int = 0
    last_good: int = 0
    last_healthy: int = 0
    present: bool = True


def _usable(candidate: Candidate) -> bool:
    return candidate.present and candidate.state not in (SlotState.ABSENT, SlotState.QUARANTINED, SlotState.HELD)


MOST_TRIED = 5
"""So many are gone back to, one after the other; if none of them comes up, it is not for their sake."""


def fallback(
    slots: Mapping[DeploymentId, Candidate],
    *,
    live: DeploymentId | None,
    came_from: DeploymentId | None,
    tried: tuple[DeploymentId, ...] = (),
) -> DeploymentId | None:
    """Where the robot goes by itself when `live` fails, that was made live when `came_from` was; None: nowhere. `tried`: what it went back
    to and did not come up either. Once all were tried it is the first of them again, and with that one it stays."""
    usable = {id_: slot for id_, slot in slots.items() if id_ != live and _usable(slot)}
    if live in tried:
        return None
    if tried:
        untried = {id_: slot for id_, slot in usable.items() if id_ not in tried}
        if len(tried) + 1 < MOST_TRIED and (found := _newest(untried)) is not None:
            return found
        return next((id_ for id_ in tried if id_ in usable), None)
    if came_from is not None and came_from in usable and usable[came_from].state is SlotState.GOOD:
        return came_from
    return _newest(usable)


def _newest(usable: Mapping[DeploymentId, Candidate]) -> DeploymentId | None:
    """The last good one, else the last healthy one."""
    good = {id_: slot.last_good for id_, slot in usable.items() if slot.state is SlotState.GOOD}
    if good:
        return max(good, key=lambda id_: (good[id_], id_))
    healthy = {id_: slot.last_healthy for id_, slot in usable.items() if slot.last_healthy}
    return max(healthy, key=lambda id_: (healthy[id_], id_)) if healthy else None


def previous(slots: Mapping[DeploymentId, Candidate], *, live: DeploymentId | None) -> DeploymentId | None:
    """Where a person goes who says just "back": the last good one that was live before the present one first was, else the
    last healthy one before it. None: there is none."""
    before = slots[live].first_live if live is not None and live in slots else 1 << 62
    older = {id_: slot for id_, slot in slots.items() if id_ != live and _usable(slot) and 0 < slot.first_live < before}
    for wanted in (
        {id_: slot.first_live for id_, slot in older.items() if slot.state is SlotState.GOOD},
        {id_: slot.first_live for id_, slot in older.items() if slot.last_healthy},
    ):
        if wanted:
            return max(wanted, key=lambda id_: (wanted[id_], id_))
    return None
