"""What selectors mean in an environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import Ambiguous, BadInput, LekiwiError, NotFound
from lekiwi_deploy.fleet.resolution import Candidate, Candidates, Interval, history, previous_of, resolve
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest

START = datetime(2026, 8, 15, 9, 10, tzinfo=UTC)
NOW = datetime(2026, 8, 21, 12, 2, tzinfo=UTC)


def id(letter: str) -> DeploymentId:
    return DeploymentId(f"dep_{letter * 8}")


def candidate(
    letter: str, version: str = "", commit: str | None = None, *, digest: str | None = "", age: int = 0
) -> Candidate:
    made = None if digest is None else ManifestDigest((digest or letter) * 64)
    return Candidate(id(letter), version or f"v0.{ord(letter)}", commit, START - timedelta(hours=age), made)


def world(
    lived: str,
    *,
    good: str = "",
    healthy: str | None = None,
    more: Sequence[Candidate] = (),
    quarantined: str = "",
    current: str | None = "",
) -> Candidates:
    """`lived`: what was live, a day each; `good`, `healthy` (default: all): which proved to be."""
    intervals = tuple(
        Interval(
            id(letter),
            START + timedelta(days=day),
            None if day == len(lived) - 1 else START + timedelta(days=day + 1),
            good=9 if letter in good else 0,
            healthy=9 if letter in (lived if healthy is None else healthy) else 0,
            total=9,
        )
        for day, letter in enumerate(lived)
    )
    known = {id(letter): candidate(letter) for letter in lived}
    known.update({one.id: one for one in more})
    live = lived[-1] if current == "" and lived else current
    return Candidates("production", known, intervals, id(live) if live else None, frozenset(id(q) for q in quarantined))


def meant(selector: str | None, candidates: Candidates) -> str:
    return resolve(selector, candidates, NOW).deployment.id[4]


@pytest.mark.parametrize(
    ("lived", "good", "wanted"),
    [
        ("AB", "AB", "A"),
        ("ABC", "ABC", "B"),
        ("ABC", "A", "A"),  # B was never proven
        ("ABC", "", "B"),  # nothing was: the last healthy one
        ("ABCB", "ABC", "A"),  # gone back to B: further back is A, not C again
        ("ABCBD", "ABCD", "B"),  # D came after B, whatever C was
        ("ABCBC", "ABC", "B"),
        ("ABA", "AB", None),
        ("A", "A", None),
    ],
)
def test_previous_is_the_last_good_one_before_the_current_one(lived: str, good: str, wanted: str | None) -> None:
    for selector in (None, "previous"):
        if wanted is None:
            with pytest.raises(NotFound, match="no earlier deployment"):
                meant(selector, world(lived, good=good))
        else:
            assert meant(selector, world(lived, good=good)) == wanted


def test_what_is_quarantined_is_no_previous_unless_it_was_good() -> None:
    assert meant(None, world("ABC", quarantined="B")) == "A"
    assert meant(None, world("ABC", good="B", quarantined="B")) == "B"


def test_previous_on_a_robot_that_runs_something_else_is_before_that() -> None:
    assert meant(None, world("ABC", good="ABC", current="B")) == "A"


def test_nothing_live_has_no_previous() -> None:
    with pytest.raises(NotFound, match="nothing is live"):
        meant(None, world("", current=None))


def test_a_time_means_what_was_live_then_and_not_what_was_made_near_it() -> None:
    known = world("ABCDEF", more=[candidate("Z", age=-70)])
    assert meant("3-days-ago", known) == "D"
    assert meant("2026-08-16", known) == "A"
    assert meant("2026-08-15T09:10", known) == "A"
    assert meant("2026-08-16T09:09:59", known) == "A"
    assert meant("2026-08-16T09:10", known) == "B"
    assert meant("1s", known) == "F"


def test_a_time_before_everything_names_what_came_first() -> None:
    with pytest.raises(NotFound, match=r"at 3w, .*dep_AAAAAAAA was the first after it"):
        meant("3w", world("AB"))
    with pytest.raises(BadInput, match="future"):
        meant("2026-08-22", world("AB"))


def test_activations_are_counted_back() -> None:
    known = world("ABAB")
    assert [meant(f"@-{count}", known) for count in (1, 2, 3)] == ["A", "B", "A"]
    with pytest.raises(NotFound, match=r"@-4 goes too far back"):
        meant("@-4", known)


def test_an_id_may_be_shortened_as_long_as_it_is_one() -> None:
    known = world("AB", more=[Candidate(DeploymentId("dep_Ax"), "v9", None, START, ManifestDigest("9" * 64))])
    assert meant("dep_B", known) == "B"
    assert meant("dep_AA", known) == "A"
    with pytest.raises(Ambiguous) as error:
        meant("dep_A", known)
    assert sorted(error.value.details["candidates"]) == ["dep_AAAAAAAA", "dep_Ax"]  # type: ignore[call-overload]
    with pytest.raises(NotFound):
        meant("dep_b", known)


def test_versions_and_commits_find_their_deployments() -> None:
    known = world("AB", more=[candidate("C", "v2.2.9", "abc1234" + "0" * 33)])
    for selector in ("v2.2.9", "2.2.9", "tag:v2.2.9", "tag:2.2.9", "commit:abc1", "abc1234"):
        assert meant(selector, known) == "C", selector
    for selector in ("v9.9.9", "commit:ffff", "alias:stable", "stable", "fffffff"):
        with pytest.raises(NotFound) as error:
            meant(selector, known)
        assert selector.partition(":")[2] in error.value.message


def test_the_same_content_twice_is_no_question() -> None:
    known = world("A", more=[candidate("B", "v1", digest="7", age=2), candidate("C", "v1", digest="7", age=1)])
    assert meant("v1", known) == "C"


def test_what_was_live_here_is_meant_before_what_was_only_built() -> None:
    live = candidate("A", "v1")
    known = world("A", more=[live, candidate("B", "v1")])
    assert meant("v1", known) == "A"


def test_what_was_never_built_is_no_target() -> None:
    known = world("A", more=[candidate("B", "v1", digest=None)])
    for selector in ("v1", "dep_B"):
        with pytest.raises(NotFound, match="never built"):
            meant(selector, known)


def test_a_word_that_means_two_things_is_asked_back() -> None:
    known = world("ABCDEF", more=[candidate("Z", "3d")])
    with pytest.raises(Ambiguous) as error:
        meant("3d", known)
    assert set(error.value.details["candidates"]) == {id("Z"), id("D")}  # type: ignore[call-overload]
    assert meant("tag:3d", known) == "Z"
    assert meant("3-days-ago", known) == "D"


def test_the_echo_says_what_was_understood() -> None:
    known = world("ABCDEF", good="D", more=[candidate("D", "v2.2.9", "8b71ff7" + "0" * 33)])
    assert resolve("3-days-ago", known, NOW, 120).text == (
        "3-days-ago = Tue 18 Aug 14:02 +02:00 -> dep_DDDDDDDD v2.2.9 (8b71ff7), live 18 Aug 11:10 to 19 Aug 11:10, good on 9/9"
    )
    assert (
        resolve("dep_F", known, NOW, -90).text == "dep_F -> dep_FFFFFFFF v0.70, live since 20 Aug 07:40, healthy on 9/9"
    )
    only = world("A", more=[candidate("Z")])
    assert resolve("dep_Z", only, NOW).text == "dep_Z -> dep_ZZZZZZZZ v0.90, never live in production"


def test_another_year_is_told() -> None:
    later = NOW + timedelta(days=200)
    assert "live since 15 Aug 2026 09:10" in resolve("dep_A", world("A"), later).text


SELECTORS = st.sampled_from(
    [None, "previous", "@-1", "@-3", "dep_A", "dep_", "v0.65", "2d", "3-days-ago", "yesterday", "A", "abcdef1"]
)


@given(st.text("ABCD", min_size=1, max_size=9), st.sets(st.sampled_from("ABCD")), SELECTORS, st.randoms())
def test_the_answer_does_not_depend_on_the_order_of_the_deployments(
    lived: str, good: set[str], selector: str | None, shuffle: object
) -> None:
    known = world(lived, good="".join(good))
    order = sorted(known.deployments.items(), key=lambda _: shuffle.random())  # type: ignore[attr-defined]
    other = Candidates("production", dict(order), known.intervals, known.current, known.quarantined)

    def outcome(candidates: Candidates) -> tuple[str, ...]:
        try:
            return (resolve(selector, candidates, NOW).text,)
        except LekiwiError as error:
            return error.code, error.message

    assert outcome(known) == outcome(other)


@given(st.text("ABCDE", min_size=1, max_size=12), st.sets(st.sampled_from("ABCDE")))
def test_going_back_again_and_again_ends_and_never_comes_round(lived: str, good: set[str]) -> None:
    seen = [id(lived[-1])]
    steps = lived
    while True:
        found = previous_of(world(steps, good="".join(good)))
        if found is None:
            break
        assert found not in seen
        seen.append(found)
        steps += found[4]
    assert len(seen) <= len(history(world(lived).intervals))


def labelled(**aliases: str) -> Candidates:
    tagged = candidate("x", "stable")
    given = {name: id(letter) for name, letter in aliases.items()}
    return dataclasses.replace(world("abc", more=(tagged,)), aliases=given)


def test_a_label_names_its_deployment_alone_and_with_its_prefix() -> None:
    known = labelled(demo="b")
    assert (meant("demo", known), meant("alias:demo", known)) == ("b", "b")
    assert "demo -> dep_bbbbbbbb" in resolve("demo", known, NOW).text


def test_a_label_that_is_also_a_tag_of_another_deployment_is_ambiguous_and_the_prefixes_tell_them_apart() -> None:
    known = labelled(stable="b")
    with pytest.raises(Ambiguous):
        meant("stable", known)
    assert (meant("alias:stable", known), meant("tag:stable", known)) == ("b", "x")


def test_a_label_that_is_not_there_says_so() -> None:
    with pytest.raises(NotFound, match="there is no alias 'demo'"):
        meant("alias:demo", labelled())
    with pytest.raises(NotFound, match="no id, alias, version"):
        meant("demo", labelled())


def test_a_label_of_what_was_never_built_names_nothing_that_runs() -> None:
    known = dataclasses.replace(world("a", more=(candidate("n", digest=None),)), aliases={"demo": id("n")})
    with pytest.raises(NotFound, match="never built"):
        meant("demo", known)
