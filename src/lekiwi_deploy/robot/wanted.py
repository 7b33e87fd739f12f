"""What the robot is to run: the server's newest desired state, or the pin that a person set on it.

Older generations are refused. What a desired state *does* (lift a pin, lift a quarantine) it does once, when its generation is
new: it is sent again on every connect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from lekiwi_deploy.robot.ledger import Ledger, SlotRecord, named, with_event, with_slot
from lekiwi_deploy.robot.slots import Released, SlotState
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Desired, Pin

SERVER_PIN = "lekiwi rollback --robot"
"""Who set a pin that came from the server. Nobody on the robot goes by that name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`taken` false: refused, `ledger` unchanged. `why` says what it did or why it was refused; empty: nothing worth telling."""

    ledger: Ledger
    taken: bool
    why: str = ""
    new: bool = False


def accept(ledger: Ledger, desired: Desired, now: datetime) -> Answer:
    """What becomes of `desired`."""
    known, told = (ledger.epoch, ledger.generation), (desired.epoch, desired.generation)
    if told < known:
        return Answer(ledger, False, f"epoch {told[0]} generation {told[1]} is older than {known[0]}/{known[1]}")
    if told == known and ledger.desired is not None:
        ticket = desired.ticket or ledger.desired.ticket
        same = msgspec.structs.replace(
            ledger.desired, ticket=ticket, policy=desired.policy, variables=desired.variables
        )
        return Answer(msgspec.structs.replace(ledger, desired=same), True)
    ref = desired.deployment
    why = ""
    pin: Pin | None = ledger.pin
    over = ledger.pin_over
    if ref is not None:
        record = ledger.slots.get(ref.id)
        ledger = with_slot(ledger, SlotRecord(ref=ref) if record is None else msgspec.structs.replace(record, ref=ref))
        if desired.force and ledger.slots[ref.id].state is SlotState.QUARANTINED:
            ledger = with_event(ledger, ref.id, Released())
            why = f"the quarantine of {ref.id} was lifted"
    if pin is not None and desired.resume:
        why = f"the pin to {pin.deployment} was lifted by hand"
        pin = None
    elif desired.by_hand and not desired.resume and ref is not None:
        pin, why = Pin(deployment=ref.id, by=SERVER_PIN, at=now), f"pinned to {ref.id} by hand"
        over = ref.created_at
    elif pin is not None and ref is not None and ref.created_at > max(pin.at, over or pin.at):
        why = f"{ref.id} was created after the pin to {pin.deployment}, which ends"
        pin = None
    ledger = msgspec.structs.replace(
        ledger,
        epoch=desired.epoch,
        generation=desired.generation,
        desired=desired,
        pin=pin,
        pin_over=over if pin is not None else None,
        changes=(),
    )
    return Answer(without_unused(ledger), True, why, new=True)


def without_unused(ledger: Ledger) -> Ledger:
    """`ledger` without deployments that were only ever heard of."""
    kept = named(ledger)
    slots = {id_: slot for id_, slot in ledger.slots.items() if slot.state is not SlotState.ABSENT or id_ in kept}
    return ledger if len(slots) == len(ledger.slots) else msgspec.structs.replace(ledger, slots=slots)


def target(ledger: Ledger) -> DeploymentId | None:
    """What is to run now; None: nothing was said, keep what runs."""
    if ledger.pin is not None:
        return ledger.pin.deployment
    if ledger.desired is not None and ledger.desired.deployment is not None:
        return ledger.desired.deployment.id
    return None


def by_hand_here(ledger: Ledger) -> bool:
    """Whether a person on the robot wants what is wanted: nothing holds that back."""
    return ledger.pin is not None and ledger.pin.by != SERVER_PIN


def forced(ledger: Ledger) -> bool:
    """Whether a person wants it over whatever would hold it back (`--force`)."""
    desired = ledger.desired
    return (
        desired is not None
        and desired.force
        and desired.deployment is not None
        and target(ledger) == desired.deployment.id
    )


def pinned(ledger: Ledger, pin: Pin) -> Ledger:
    """A person on the robot wants `pin.deployment`, which the ledger knows."""
    desired = ledger.desired.deployment if ledger.desired is not None else None
    over = desired.created_at if desired is not None else None
    return msgspec.structs.replace(ledger, pin=pin, pin_over=over, changes=())


def resumed(ledger: Ledger) -> Ledger:
    """The pin ends; the desired deployment is followed again."""
    return msgspec.structs.replace(ledger, pin=None, pin_over=None, changes=())


def joined_anew(ledger: Ledger) -> Ledger:
    """The robot belongs to another server or environment now: what runs stays, what was wanted is forgotten."""
    return msgspec.structs.replace(ledger, epoch=0, generation=0, desired=None, pin=None, pin_over=None, outcome=None)
