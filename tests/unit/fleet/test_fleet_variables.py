"""Whose variable a robot gets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.variables import (
    Version,
    Where,
    checked_scope,
    concerns,
    differences,
    is_secret,
    largest_together,
    protected,
    resolve,
)
from lekiwi_deploy.wire.policy import Approvals, Policy
from lekiwi_deploy.wire.variables import Scope

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROBOT = Where("staging", branch="main", labels={"hw": "v2", "site": "lab"}, robot="kiwi-1")
SCOPES = [
    (Scope.PROJECT, ""),
    (Scope.ENVIRONMENT, "staging"),
    (Scope.BRANCH, "main"),
    (Scope.TAG, "hw=v2"),
    (Scope.ROBOT, "kiwi-1"),
]


def version(
    revision: int, scope: Scope, of: str, name: str = "A", *, sealed: bytes | None = b"x", secret: bool = True
) -> Version:
    return Version(
        revision=revision,
        scope=scope,
        of=of,
        name=name,
        sealed=sealed,
        secret=secret,
        fingerprint=f"{scope}{of}",
        by="anna",
        at=AT,
    )


@given(st.permutations(SCOPES), st.integers(1, len(SCOPES)))
def test_the_narrowest_goes_first_in_whatever_order_they_were_set(order: list[tuple[Scope, str]], count: int) -> None:
    chosen = order[:count]
    versions = [version(number, scope, of) for number, (scope, of) in enumerate(chosen, 1)]
    (found,) = resolve(versions, ROBOT).values()
    assert (found.scope, found.of) == max(chosen, key=SCOPES.index)


def test_what_is_removed_leaves_the_place_to_a_wider_scope() -> None:
    versions = [version(1, Scope.PROJECT, ""), version(3, Scope.ROBOT, "kiwi-1", sealed=None)]
    assert resolve(versions, ROBOT)["A"].scope is Scope.PROJECT


def test_previews_get_no_variables_of_the_project() -> None:
    assert resolve([version(1, Scope.PROJECT, "")], Where("pr-12", preview=True, branch="pr-12")) == {}


def test_of_two_tags_the_one_with_more_terms_goes_first_then_the_newer_one() -> None:
    wide, narrow = version(9, Scope.TAG, "hw=v2"), version(1, Scope.TAG, "hw=v2, site=lab")
    assert resolve([wide, narrow], ROBOT)["A"] == narrow
    older, newer = version(2, Scope.TAG, "site=lab"), version(3, Scope.TAG, "hw=v2")
    assert resolve([newer, older], ROBOT)["A"] == newer


def test_a_branch_goes_before_a_pattern_and_a_longer_pattern_before_a_shorter_one() -> None:
    where = Where("pr-12", preview=True, branch="pr-12")
    exact, long, short = (version(n, Scope.BRANCH, of) for n, of in ((1, "pr-12"), (2, "pr-1*"), (3, "pr-*")))
    assert resolve([short, long, exact], where)["A"] == exact
    assert resolve([short, long], where)["A"] == long


def test_variables_of_tags_and_robots_are_of_no_environment_in_general() -> None:
    nobody = Where("staging", branch="main")
    assert not concerns(Scope.TAG, "hw=v2", nobody)
    assert not concerns(Scope.ROBOT, "kiwi-1", nobody)


@pytest.mark.parametrize(
    ("scope", "of", "form"),
    [
        (Scope.PROJECT, "", ("",)),
        (Scope.ENVIRONMENT, "b, a,b", ("b", "a")),
        (Scope.BRANCH, "feature/arm", ("feature/arm",)),
        (Scope.TAG, "site in (b,a),!old,hw=v2", ("!old, hw=v2, site in (a, b)",)),
        (Scope.TAG, "a!=1, k not in (y, x), b", ("a!=1, b, k not in (x, y)",)),
        (Scope.ROBOT, "kiwi-1", ("kiwi-1",)),
    ],
)
def test_a_scope_has_one_form(scope: Scope, of: str, form: tuple[str, ...]) -> None:
    assert checked_scope(scope, of) == form
    for one in form:
        assert checked_scope(scope, one) == (one,)


@pytest.mark.parametrize(
    ("scope", "of"),
    [
        (Scope.PROJECT, "x"),
        (Scope.ENVIRONMENT, ""),
        (Scope.ENVIRONMENT, "a,,b"),
        (Scope.BRANCH, ""),
        (Scope.BRANCH, "a b"),
        (Scope.BRANCH, "a\nb"),
        (Scope.TAG, "*"),
        (Scope.TAG, ""),
        (Scope.TAG, "hw=="),
        (Scope.ROBOT, "../x"),
    ],
)
def test_a_scope_that_names_nobody_is_refused(scope: Scope, of: str) -> None:
    if (scope, of) == (Scope.TAG, "hw=="):
        of = "=v2"
    with pytest.raises(BadInput):
        checked_scope(scope, of)


@pytest.mark.parametrize(
    ("policy", "guarded"),
    [
        (None, False),
        (Policy(), False),
        (Policy(auto_deploy=False), True),
        (Policy(approvals=Approvals(count=2)), True),
        (Policy(approvals=Approvals(count=0)), False),
    ],
)
def test_an_environment_is_protected_where_people_say_what_goes_live(policy: Policy | None, guarded: bool) -> None:
    assert protected(policy) is guarded


@pytest.mark.parametrize(
    ("name", "secret"),
    [("API_KEY", True), ("TOKEN", True), ("db_password", True), ("Secret_x", True), ("LOG_LEVEL", False)],
)
def test_the_name_tells_a_secret(name: str, secret: bool) -> None:
    assert is_secret(name, None, None, guarded=False) is secret


def test_what_is_said_goes_before_what_it_was_and_that_before_the_name() -> None:
    config = version(1, Scope.PROJECT, "", "API_KEY", secret=False)
    assert not is_secret("API_KEY", None, config, guarded=True)
    assert is_secret("API_KEY", True, config, guarded=False)
    assert not is_secret("API_KEY", False, None, guarded=True)
    assert is_secret("LOG_LEVEL", None, None, guarded=True)


def test_differences_name_what_came_went_and_changed_and_count_the_rest() -> None:
    here: dict[tuple[str, ...], Version] = {
        ("A",): version(1, Scope.PROJECT, ""),
        ("B",): version(2, Scope.PROJECT, "", "B"),
        ("C",): version(3, Scope.PROJECT, "", "C"),
    }
    there: dict[tuple[str, ...], Version] = {
        ("A",): version(4, Scope.ROBOT, "kiwi-1"),
        ("C",): version(3, Scope.PROJECT, "", "C"),
        ("D",): version(5, Scope.PROJECT, "", "D"),
    }
    changed, same = differences(here, there)
    assert same == 1
    assert [(one.name, one.before_revision, one.after_revision) for one in changed] == [
        ("A", 1, 4),
        ("B", 2, None),
        ("D", None, 5),
    ]


def test_a_robot_gets_one_value_of_each_name_so_the_largest_counts() -> None:
    assert largest_together([("A", 10), ("A", 30), ("B", 5)]) == 35
