"""Who has to agree, whose word counts, and what becomes of a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.fleet.approval import End, Way, awaited, expiry, is_author, stricter, tally, waits_for, wanted
from lekiwi_deploy.wire.approvals import ApprovalRequest, Vote
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName
from lekiwi_deploy.wire.policy import Approvals, Policy

AT = datetime(2026, 8, 21, 14, 2, tzinfo=UTC)
WAYS = [way for way in Way if way is not Way.ROLLBACK]


def request(
    *, needed: int = 1, not_author: bool = False, author: str | None = "Anna Moser <anna@example.org>", by: str = "carl"
) -> ApprovalRequest:
    return ApprovalRequest(
        id="apr_00000001",
        project=ProjectName("web"),
        environment=EnvironmentName("production"),
        deployment=DeploymentId("dep_2hX9kL3m"),
        version="v1.0.0",
        digest=ManifestDigest("a" * 64),
        kind="deploy",
        asked_by=by,
        asked_at=AT,
        author=author,
        needed=needed,
        not_author=not_author,
        expires_at=AT + timedelta(days=7),
    )


def yes(*names: str) -> tuple[Vote, ...]:
    return tuple(Vote(by=name, approved=True, at=AT) for name in names)


def test_going_back_never_waits_for_anybody() -> None:
    for policy in (Policy(), Policy(auto_deploy=False), Policy(approvals=Approvals(count=3))):
        assert wanted(policy, Way.ROLLBACK) is None


def test_without_approvals_only_a_push_waits_and_only_where_pushes_do_not_go_live() -> None:
    assert all(wanted(Policy(), way) is None for way in Way)
    off = Policy(auto_deploy=False)
    assert wanted(off, Way.PUSH) == Approvals(count=1)
    assert [way for way in WAYS if wanted(off, way) is not None] == [Way.PUSH]


def test_approvals_are_asked_of_everything_that_is_new() -> None:
    policy = Policy(approvals=Approvals(count=2, not_author=True))
    assert {way: wanted(policy, way) for way in WAYS} == dict.fromkeys(WAYS, policy.approvals)


def test_a_count_of_none_asks_nobody_but_a_push_without_auto_deploy_needs_one_all_the_same() -> None:
    none = Approvals(count=0)
    assert all(wanted(Policy(approvals=none), way) is None for way in WAYS)
    asked = wanted(Policy(auto_deploy=False, approvals=none), Way.PUSH)
    assert asked is not None
    assert asked.count == 1


@pytest.mark.parametrize(
    ("person", "same"),
    [
        ("anna", True),
        ("Anna Moser", True),
        ("ANNA  moser", True),
        ("anna@example.org", True),
        ("carl", True),
        ("bob", False),
        ("moser", False),
        ("", False),
    ],
)
def test_the_author_goes_by_name_address_and_its_beginning_and_whoever_asked_counts_as_one(
    person: str, same: bool
) -> None:
    assert is_author(person, request()) is same


def test_a_token_named_by_name_and_address_is_the_author_too() -> None:
    assert is_author("A. Moser <anna@example.org>", request())
    assert not is_author("Bob <bob@example.org>", request())


def test_without_an_author_only_who_asked_counts_as_one() -> None:
    assert not is_author("anna", request(author=None))
    assert is_author("Carl", request(author=None))


def test_two_people_are_two_names_and_the_author_is_none_of_them() -> None:
    asked = request(needed=2, not_author=True)
    counted = tally(asked, yes("anna", "bob"), AT)
    assert (counted.given, counted.idle, counted.missing, counted.end) == (("bob",), ("anna",), 1, None)
    assert tally(asked, yes("bob", "dora"), AT).end is End.APPROVED


def test_a_rejection_ends_it_however_many_approved() -> None:
    votes = (*yes("bob", "dora"), Vote(by="anna", approved=False, at=AT))
    assert tally(request(needed=1), votes, AT).end is End.REJECTED


def test_it_expires_but_enough_approvals_go_before_that() -> None:
    asked = request(needed=2)
    late = asked.expires_at
    assert tally(asked, yes("bob"), late).end is End.EXPIRED
    assert tally(asked, yes("bob"), late - timedelta(seconds=1)).end is None
    assert tally(asked, yes("bob", "dora"), late).end is End.APPROVED
    assert expiry(AT, Approvals(expires_s=60)) == AT + timedelta(minutes=1)


def test_what_has_ended_stays_as_it_ended() -> None:
    ended = msgspec.structs.replace(request(), ended="superseded")
    assert tally(ended, yes("bob"), AT).end is End.SUPERSEDED


def test_a_policy_that_became_stricter_holds_and_one_that_became_laxer_does_not() -> None:
    asked = request(needed=2, not_author=True)
    assert stricter(asked, Policy(approvals=Approvals(count=1)), Way.DEPLOY) == asked
    more = stricter(asked, Policy(approvals=Approvals(count=3)), Way.DEPLOY)
    assert (more.needed, more.not_author) == (3, True)
    assert stricter(asked, Policy(), Way.DEPLOY) == asked


def test_what_it_waits_for_is_said_in_words() -> None:
    asked = request(needed=2, not_author=True)
    assert waits_for(asked, tally(asked, (), AT)) == "2 approvals (not by its author)"
    assert waits_for(asked, tally(asked, yes("bob"), AT)) == "1 more approval (bob approved; not by its author)"
    one = request()
    assert waits_for(one, tally(one, (), AT)) == "1 approval"
    reason = awaited(msgspec.structs.replace(asked, votes=yes("bob")))
    assert (reason.missing, reason.given, reason.not_author, reason.since) == (1, ("bob",), True, AT)


NAMES = st.sampled_from(["anna", "bob", "carl", "dora", "emil"])


@given(
    needed=st.integers(1, 4),
    not_author=st.booleans(),
    votes=st.dictionaries(NAMES, st.booleans(), max_size=5),
    hours=st.integers(0, 200),
)
def test_it_goes_live_only_by_enough_different_people_who_may(
    needed: int, not_author: bool, votes: dict[str, bool], hours: int
) -> None:
    asked = request(needed=needed, not_author=not_author)
    said = [Vote(by=by, approved=approved, at=AT) for by, approved in votes.items()]
    counted = tally(asked, said, AT + timedelta(hours=hours))
    good = {by for by, approved in votes.items() if approved and not (not_author and by in ("anna", "carl"))}
    assert set(counted.given) == good
    assert (counted.end is End.APPROVED) == (len(good) >= needed and all(votes.values()))
    assert counted.missing == max(0, needed - len(good))
