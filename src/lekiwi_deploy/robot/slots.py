"""What a deployment is on this robot: a closed set of states, and one table of how they follow each other.

Whether its files are here and intact is observed, not remembered (`steps.Observed`): a verdict outlives its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class SlotState(StrEnum):
    """The verdict on one deployment, here."""

    ABSENT = "absent"  # nothing here that could be started
    STAGED = "staged"  # complete and verified, not on trial
    TRIAL = "trial"  # started, not yet proven
    GOOD = "good"  # proven: safe to fall back to
    HELD = "held"  # failed its trial and left as it was, because its policy or the baseline says so
    QUARANTINED = "quarantined"  # failed its trial: never started again without a person


@dataclass(frozen=True, slots=True)
class Staged:
    """Every file is here and verified."""


@dataclass(frozen=True, slots=True)
class Started:
    """It was made the live one (again, after a power cut)."""


@dataclass(frozen=True, slots=True)
class Proven:
    """Its trial is over."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed its trial and is not to run."""


@dataclass(frozen=True, slots=True)
class Kept:
    """It failed its trial and runs on."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another deployment was made the live one before it was proven."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Its files were removed."""


@dataclass(frozen=True, slots=True)
class Released:
    """A person lifted the quarantine."""


SlotEvent = Staged | Started | Proven | Failed | Kept | Superseded | Pruned | Released

_A, _S, _T, _G, _H, _Q = SlotState

TRANSITIONS: Mapping[tuple[SlotState, type[SlotEvent]], SlotState] = MappingProxyType(
    {
        (_A, Staged): _S,
        (_S, Staged): _S,  # fetched again to repair it; likewise below
        (_T, Staged): _T,
        (_G, Staged): _G,
        (_H, Staged): _H,
        (_S, Started): _T,
        (_T, Started): _T,  # a power cut; trial.py counts starts
        (_G, Started): _G,  # gone back to: it has been proven before
        (_H, Started): _T,
        (_T, Proven): _G,
        (_G, Proven): _G,
        (_T, Failed): _Q,
        (_G, Failed): _Q,
        (_T, Kept): _H,
        (_G, Kept): _G,  # a proven one that cannot come up now is not to blame
        (_T, Superseded): _S,  # another target came first
        (_G, Superseded): _G,
        (_H, Superseded): _H,
        (_S, Superseded): _S,
        (_S, Pruned): _A,
        (_G, Pruned): _A,
        (_H, Pruned): _A,
        (_Q, Pruned): _Q,  # files go, the verdict stays
        (_Q, Released): _A,  # its files are looked at anew
    }
)


class IllegalTransition(Exception):
    """A defect of ours: an event that cannot happen in this state."""


def advance(state: SlotState, event: SlotEvent) -> SlotState:
    """The state after `event`. Raises `IllegalTransition` when the table has no entry; nothing has changed then."""
    try:
        return TRANSITIONS[state, type(event)]
    except KeyError:
        raise IllegalTransition(f"a deployment that is {state} cannot be {type(event).__name__.lower()}") from None
