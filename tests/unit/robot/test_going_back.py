from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.fallback import Candidate, fallback, previous
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId

A, B, C, D = (DeploymentId(f"dep_{letter * 8}") for letter in "ABCD")
GOOD, STAGED, BAD, HELD = SlotState.GOOD, SlotState.STAGED, SlotState.QUARANTINED, SlotState.HELD


def test_what_ran_before_is_gone_back_to_when_it_was_proven() -> None:
    slots = {A: Candidate(GOOD, 1, 2), B: Candidate(GOOD, 3, 4), C: Candidate(SlotState.TRIAL, 5)}
    assert fallback(slots, live=C, came_from=A) == A


def test_a_provisional_one_is_passed_over_for_the_last_good() -> None:
    slots = {
        A: Candidate(GOOD, 1, 9),
        B: Candidate(GOOD, 3, 4),
        C: Candidate(STAGED, 5, 0, 6),
        D: Candidate(SlotState.TRIAL, 7),
    }
    assert fallback(slots, live=D, came_from=C) == A


def test_without_a_good_one_the_last_healthy_will_do() -> None:
    slots = {
        A: Candidate(STAGED, 1, 0, 2),
        B: Candidate(STAGED, 3, 0, 4),
        C: Candidate(STAGED, 0),
        D: Candidate(SlotState.TRIAL, 5),
    }
    assert fallback(slots, live=D, came_from=C) == B


def test_there_may_be_nothing_to_go_back_to() -> None:
    assert fallback({A: Candidate(SlotState.TRIAL, 1)}, live=A, came_from=None) is None
    assert fallback({}, live=None, came_from=None) is None


CANDIDATES = st.builds(
    Candidate, st.sampled_from(SlotState), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()
)


@given(
    st.dictionaries(st.sampled_from([A, B, C, D]), CANDIDATES),
    st.sampled_from([A, B, C, D, None]),
    st.sampled_from([A, B, C, D, None]),
)
def test_nothing_that_failed_or_is_damaged_is_ever_gone_back_to(
    slots: dict[DeploymentId, Candidate], live: DeploymentId | None, came_from: DeploymentId | None
) -> None:
    for found in (fallback(slots, live=live, came_from=came_from), previous(slots, live=live)):
        if found is not None:
            assert found != live
            assert slots[found].present
            assert slots[found].state not in (BAD, HELD, SlotState.ABSENT)


def test_back_means_the_good_one_before_the_present_one_not_the_newest() -> None:
    slots = {A: Candidate(GOOD, 1, 2), B: Candidate(GOOD, 3, 4), C: Candidate(GOOD, 5, 6)}
    assert previous(slots, live=C) == B
    assert previous(slots, live=B) == A
    assert previous(slots, live=A) is None


def test_back_from_nothing_is_the_last_good_one() -> None:
    assert previous({A: Candidate(GOOD, 1, 2), B: Candidate(GOOD, 3, 4)}, live=None) == B


def test_back_takes_a_healthy_one_only_when_none_was_good() -> None:
    slots = {A: Candidate(GOOD, 1, 2), B: Candidate(STAGED, 3, 0, 4), C: Candidate(SlotState.TRIAL, 5)}
    assert previous(slots, live=C) == A
    assert previous({B: slots[B], C: slots[C]}, live=C) == B
