import pytest

from lekiwi_deploy.testing.waiting import NeverHappened, eventually


def test_the_first_answer_that_counts_is_given() -> None:
    answers = iter([None, 0, "", "three"])
    assert eventually("an answer", lambda: next(answers), every_s=0) == "three"


def test_what_never_happens_is_named_with_what_was_seen_last() -> None:
    with pytest.raises(NeverHappened, match=r"the kiwi flies: not within 0 s; last seen: \[\]"):
        eventually("the kiwi flies", list, within_s=0)
