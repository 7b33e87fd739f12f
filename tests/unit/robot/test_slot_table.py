import pytest

from lekiwi_deploy.robot.slots import (
    TRANSITIONS,
    Failed,
    IllegalTransition,
    Kept,
    Proven,
    Released,
    SlotState,
    Started,
    advance,
)


def test_every_state_is_entered_and_left() -> None:
    entered = {after for (before, _), after in TRANSITIONS.items() if after is not before}
    left = {before for (before, _), after in TRANSITIONS.items() if after is not before}
    assert entered == left == set(SlotState)


def test_only_a_person_gets_a_deployment_out_of_quarantine() -> None:
    ways = {
        event
        for (before, event), after in TRANSITIONS.items()
        if before is SlotState.QUARANTINED and after is not before
    }
    assert ways == {Released}


def test_a_quarantined_deployment_is_never_started_again() -> None:
    with pytest.raises(IllegalTransition, match="quarantined cannot be started"):
        advance(SlotState.QUARANTINED, Started())


def test_what_is_not_here_cannot_be_started() -> None:
    with pytest.raises(IllegalTransition):
        advance(SlotState.ABSENT, Started())


def test_a_proven_deployment_stays_good_when_it_is_gone_back_to() -> None:
    assert advance(SlotState.GOOD, Started()) is SlotState.GOOD
    assert advance(SlotState.GOOD, Kept()) is SlotState.GOOD


def test_a_trial_ends_good_quarantined_or_held() -> None:
    assert advance(SlotState.TRIAL, Proven()) is SlotState.GOOD
    assert advance(SlotState.TRIAL, Failed()) is SlotState.QUARANTINED
    assert advance(SlotState.TRIAL, Kept()) is SlotState.HELD
