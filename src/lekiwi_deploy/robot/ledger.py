"""What a robot remembers: the journal's content. Every change of it is a function in `wanted.py` or `record.py` that gives
a new ledger; the agent writes it down before it acts.

Orders count the robot's own events (`clock`), so that no wall clock decides what is newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from lekiwi_deploy.robot.fallback import Candidate
from lekiwi_deploy.robot.settling import Change
from lekiwi_deploy.robot.slots import SlotEvent, SlotState, advance
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import DeploymentRef, Desired, Outcome, Pin, TrialPolicy
from lekiwi_deploy.wire.manifest import HookKind

SCHEMA = 1
"""Of the stored ledger. A newer one is refused, an older one is read (fields added since have defaults)."""


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment that this robot heard of. `why`: of its quarantine or of being held."""

    ref: DeploymentRef
    state: SlotState = SlotState.ABSENT
    staged: int = 0
    first_live: int = 0
    last_good: int = 0
    last_healthy: int = 0
    why: str | None = None
    wire_bytes: int = 0
    ready_ms: float | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A failed attempt whose outcome is told once what ran before runs again. `tried`: what was gone back to and did not come up
    either, in order."""

    deployment: DeploymentId
    generation: int
    why: str
    restarted: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    by_hand: bool = False
    tried: tuple[DeploymentId, ...] = ()


class HookRun(msgspec.Struct, frozen=True, kw_only=True):
    """A hook that ran to its end in this attempt. `failure`: one line, None: it did what it should."""

    service: str
    kind: HookKind
    failure: str | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The live deployment is being judged. `judged`: services that the trial looks at; `restarted`: those whose process changed;
    `baseline`: (service, check) that failed before. `boot`: kernel boot id under which it was last started, `starts` how often it was.
    `healthy_since`: seconds of CLOCK_BOOTTIME in that boot. `told`: its healthy outcome was recorded.
    `hooks`: those that ran to their end, so that none is repeated."""

    deployment: DeploymentId
    generation: int
    boot: str
    policy: TrialPolicy
    starts: int = 1
    judged: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    baseline: tuple[tuple[str, str], ...] = ()
    healthy_since: float | None = None
    told: bool = False
    instead_of: Attempt | None = None
    hooks: tuple[HookRun, ...] = ()

    def hook(self, service: str, kind: HookKind) -> HookRun | None:
        """How this hook ended in this attempt; None: it has not, or it was interrupted and is to run again."""
        return next((run for run in self.hooks if run.service == service and run.kind is kind), None)


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """`desired`: the newest that was accepted. `live`: what `current` is to name and services are to run; `came_from`: what was
    live before it. `pin_over`: creation time of the deployment that was desired when the pin was made. `live_since`: wall clock.
    `changes`: of what is live, since the newest order."""

    schema: int = SCHEMA
    clock: int = 0
    epoch: int = 0
    generation: int = 0
    desired: Desired | None = None
    pin: Pin | None = None
    pin_over: datetime | None = None
    slots: Mapping[DeploymentId, SlotRecord] = {}
    live: DeploymentId | None = None
    live_since: datetime | None = None
    came_from: DeploymentId | None = None
    trial: Trial | None = None
    outcome: Outcome | None = None
    changes: tuple[Change, ...] = ()


def with_slot(ledger: Ledger, record: SlotRecord) -> Ledger:
    """`ledger` with this record in place of the one of the same deployment."""
    return msgspec.structs.replace(ledger, slots={**ledger.slots, record.ref.id: record})


def with_event(ledger: Ledger, deployment: DeploymentId, event: SlotEvent, why: str | None = None) -> Ledger:
    """`ledger` after `event` befell a deployment that it knows. Raises `IllegalTransition`."""
    record = ledger.slots[deployment]
    state = advance(record.state, event)
    return with_slot(ledger, msgspec.structs.replace(record, state=state, why=why))


def tick(ledger: Ledger) -> Ledger:
    """`ledger` one event later."""
    return msgspec.structs.replace(ledger, clock=ledger.clock + 1)


def candidates(ledger: Ledger, present: frozenset[DeploymentId]) -> dict[DeploymentId, Candidate]:
    """What could be gone back to; `present`: deployments whose files are all here."""
    return {
        id_: Candidate(
            state=slot.state,
            first_live=slot.first_live,
            last_good=slot.last_good,
            last_healthy=slot.last_healthy,
            present=id_ in present,
        )
        for id_, slot in ledger.slots.items()
    }


def tried(ledger: Ledger) -> tuple[DeploymentId, ...]:
    """What the robot went back to, in the open trial, and did not come up either."""
    trial = ledger.trial
    return trial.instead_of.tried if trial is not None and trial.instead_of is not None else ()


def named(ledger: Ledger) -> frozenset[DeploymentId]:
    """Deployments whose files must stay because the ledger refers to them."""
    names = {ledger.live, ledger.came_from, ledger.pin.deployment if ledger.pin else None}
    if ledger.desired is not None and ledger.desired.deployment is not None:
        names.add(ledger.desired.deployment.id)
    if ledger.trial is not None:
        names.add(ledger.trial.deployment)
        if ledger.trial.instead_of is not None:  # its hooks may have to run yet
            names.add(ledger.trial.instead_of.deployment)
        if ledger.trial.instead_of is not None:
            names.update((ledger.trial.instead_of.deployment, *ledger.trial.instead_of.tried))
    return frozenset(name for name in names if name is not None)
