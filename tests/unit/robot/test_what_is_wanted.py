from datetime import UTC, datetime, timedelta
from typing import Any

from lekiwi_deploy.robot.ledger import Ledger, SlotRecord
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.wanted import accept, joined_anew, pinned, resumed, target
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef, Desired, Pin

NOON = datetime(2026, 8, 21, 12, tzinfo=UTC)
A, B, C = (DeploymentId(f"dep_{letter * 8}") for letter in "ABC")


def ref(id_: DeploymentId, minutes: int) -> DeploymentRef:
    return DeploymentRef(
        id=id_,
        digest=ManifestDigest("0" * 64),
        manifest_size=1,
        version="v1",
        created_at=NOON + timedelta(minutes=minutes),
    )


OLD, NOW, NEXT = ref(A, -60), ref(B, -10), ref(C, 10)


def wish(generation: int, deployment: DeploymentRef | None = NOW, epoch: int = 1, **more: Any) -> Desired:
    return Desired(
        epoch=epoch, generation=generation, environment=EnvironmentName("production"), deployment=deployment, **more
    )


def after(*wishes: Desired, ledger: Ledger | None = None) -> Ledger:
    ledger = ledger or Ledger()
    for one in wishes:
        ledger = accept(ledger, one, NOON).ledger
    return ledger


def pinned_to_a() -> Ledger:
    ledger = after(wish(1, OLD), wish(2, NOW))
    ledger = Ledger(
        **{
            **{name: getattr(ledger, name) for name in ledger.__struct_fields__},
            "slots": {
                A: SlotRecord(ref=OLD, state=SlotState.GOOD, staged=1),
                B: SlotRecord(ref=NOW, state=SlotState.TRIAL, staged=2),
            },
        }
    )
    return pinned(ledger, Pin(deployment=A, by="anna", at=NOON))


def test_an_older_generation_never_replaces_a_newer_one() -> None:
    ledger = after(wish(5))
    answer = accept(ledger, wish(4, NEXT), NOON)
    assert (answer.taken, answer.ledger) == (False, ledger)
    assert "older" in answer.why


def test_a_newer_epoch_begins_anew_and_an_older_one_is_refused() -> None:
    ledger = after(wish(50), wish(1, NEXT, epoch=2))
    assert target(ledger) == C
    assert not accept(ledger, wish(99, epoch=1), NOON).taken


def test_the_same_wish_again_changes_nothing_but_the_ticket() -> None:
    ledger = after(wish(5, ticket="one"))
    answer = accept(ledger, wish(5, ticket="two"), NOON)
    assert answer.taken and not answer.new
    assert answer.ledger.desired is not None and answer.ledger.desired.ticket == "two"


def test_a_pin_holds_against_older_and_equal_deployments() -> None:
    assert target(after(wish(3, NOW), ledger=pinned_to_a())) == A
    assert target(after(wish(3, ref(C, -5)), ledger=pinned_to_a())) == A


def test_a_deployment_created_later_ends_a_pin() -> None:
    ledger = after(wish(3, NEXT), ledger=pinned_to_a())
    assert (target(ledger), ledger.pin) == (C, None)


def test_a_clock_that_is_behind_does_not_end_a_pin_for_what_was_rolled_back() -> None:
    ledger = pinned_to_a()
    assert ledger.pin is not None
    ledger = pinned(ledger, Pin(deployment=A, by="anna", at=datetime(1970, 1, 1, tzinfo=UTC)))
    assert target(after(wish(3, NOW), ledger=ledger)) == A


def test_a_person_at_the_server_ends_a_pin_or_moves_it() -> None:
    assert target(after(wish(3, NOW, resume=True), ledger=pinned_to_a())) == B
    moved = after(wish(3, NOW, by_hand=True), ledger=pinned_to_a())
    assert moved.pin is not None and moved.pin.deployment == B


def test_a_wish_sent_again_does_not_undo_what_a_person_did_since() -> None:
    ledger = after(wish(3, NOW, resume=True), ledger=pinned_to_a())
    ledger = pinned(ledger, Pin(deployment=A, by="anna", at=NOON))
    assert target(after(wish(3, NOW, resume=True), ledger=ledger)) == A


def test_resuming_on_the_robot_follows_the_server_again() -> None:
    assert target(resumed(pinned_to_a())) == B


def test_only_force_lifts_a_quarantine_and_only_once() -> None:
    ledger = after(wish(1))
    bad = {B: SlotRecord(ref=NOW, state=SlotState.QUARANTINED, why="it crashed")}
    ledger = Ledger(epoch=1, generation=1, desired=ledger.desired, slots=bad)
    assert after(wish(2, by_hand=True), ledger=ledger).slots[B].state is SlotState.QUARANTINED
    lifted = after(wish(2, force=True), ledger=ledger)
    assert lifted.slots[B].state is SlotState.ABSENT
    again = Ledger(epoch=1, generation=2, desired=lifted.desired, slots=bad)
    assert after(wish(2, force=True), ledger=again).slots[B].state is SlotState.QUARANTINED


def test_deployments_that_were_only_heard_of_are_forgotten() -> None:
    assert set(after(wish(1, OLD), wish(2, NOW), wish(3, NEXT)).slots) == {C}


def test_wanting_nothing_keeps_what_runs() -> None:
    assert target(after(wish(1, None))) is None


def test_a_robot_that_joins_another_server_keeps_what_it_runs() -> None:
    ledger = joined_anew(pinned_to_a())
    assert (ledger.generation, ledger.pin, ledger.desired) == (0, None, None)
    assert set(ledger.slots) == {A, B}
