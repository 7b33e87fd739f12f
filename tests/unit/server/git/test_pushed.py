from __future__ import annotations

import pytest

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.branches import Routes, Target
from lekiwi_deploy.server.git.pushed import (
    MAX_LINES,
    NOTHING,
    Options,
    Plan,
    Update,
    plan_push,
    read_options,
    read_updates,
    tags_of,
)
from lekiwi_deploy.wire.ids import EnvironmentName

A, B = "a" * 40, "b" * 40
PRODUCTION = Target(EnvironmentName("production"))
STAGING = Target(EnvironmentName("staging"), branch="staging")


def planned(*updates: Update, options: Options | None = None, forced: frozenset[str] = frozenset()) -> Plan:
    return plan_push(updates, Routes((PRODUCTION, STAGING)), options or Options(), default_branch="main", forced=forced)


def test_what_git_says_is_read() -> None:
    assert read_updates(f"{A} {B} refs/heads/main\n") == (Update(A, B, "refs/heads/main"),)


@pytest.mark.parametrize(
    "text", ["x", f"{A} {B}", f"{A} {B} HEAD", f"{A[:39]} {B} refs/heads/x", f"{A}  {B} refs/heads/x"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_updates(text)


def test_each_branch_goes_to_its_environment() -> None:
    plan = planned(Update(A, B, "refs/heads/main"), Update(A, B, "refs/heads/staging"))
    assert [(update.short, environment) for update, environment in plan.builds] == [
        ("main", "production"),
        ("staging", "staging"),
    ]
    assert plan.lines == () and plan.refusals == ()


def test_what_deploys_nothing_gets_one_line_each() -> None:
    plan = planned(
        Update(NOTHING, B, "refs/tags/v1.0"),
        Update(NOTHING, B, "refs/heads/idea"),
        Update(NOTHING, B, "refs/notes/commits"),
    )
    assert plan.builds == () and len(plan.lines) == 3
    assert all(name in line for name, line in zip(("v1.0", "idea", "refs/notes/commits"), plan.lines, strict=True))


def test_of_very_many_refs_only_some_are_told_and_the_rest_is_counted() -> None:
    plan = planned(*(Update(NOTHING, B, f"refs/tags/t{number}") for number in range(10_000)))
    assert len(plan.lines) == MAX_LINES + 1 and "9,980 more refs" in plan.lines[-1]


def test_two_refs_for_one_environment_are_refused() -> None:
    plan = planned(Update(A, B, "refs/heads/main"), Update(A, B, "refs/heads/idea"), options=Options(env="production"))
    assert plan.refusals == ("main and idea both deploy to production: push one of them",)


def test_a_forced_push_deploys_what_it_pushes_and_says_so() -> None:
    plan = planned(Update(A, B, "refs/heads/main"), forced=frozenset({"refs/heads/main"}))
    assert len(plan.builds) == 1 and "forced" in plan.lines[0]


def test_a_branch_that_an_environment_lives_on_cannot_be_deleted() -> None:
    plan = planned(Update(A, NOTHING, "refs/heads/staging"), Update(A, NOTHING, "refs/heads/main"))
    assert len(plan.refusals) == 2
    assert planned(Update(A, NOTHING, "refs/heads/idea")).lines == (
        "idea is deleted: nothing is deployed by that, and robots keep what they run",
    )


def test_a_branch_whose_name_cannot_be_stored_is_refused() -> None:
    name = "x" * 101
    plan = planned(Update(NOTHING, B, f"refs/heads/{name}"), options=Options(env="production"))
    assert "longer than 100" in plan.refusals[0]


def test_an_unknown_environment_is_refused_with_the_known_ones() -> None:
    assert "production, staging" in planned(Update(A, B, "refs/heads/main"), options=Options(env="prod")).refusals[0]


def test_a_tag_pushed_along_with_a_branch_is_not_what_env_means() -> None:
    plan = planned(Update(A, B, "refs/heads/main"), Update(NOTHING, B, "refs/tags/v1"), options=Options(env="staging"))
    assert [(update.short, environment) for update, environment in plan.builds] == [("main", "staging")]
    assert planned(Update(NOTHING, B, "refs/tags/v1"), options=Options(env="staging")).builds[0][1] == "staging"


def test_push_options_are_read() -> None:
    assert read_options(["env=staging", "wait=false", "message=hello = you"]) == Options(
        "staging", "hello = you", False
    )
    assert read_options([]) == Options()


@pytest.mark.parametrize(
    ("option", "hint"),
    [("wiat=false", "'wait'"), ("canary=1", "env, message, wait"), ("wait=maybe", "true or false"), ("env=", "a name")],
)
def test_a_push_option_that_is_not_known_is_refused(option: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        read_options([option])


def test_the_tags_of_a_push_are_those_it_brings() -> None:
    updates = (Update(NOTHING, A, "refs/tags/v1"), Update(B, NOTHING, "refs/tags/v0"), Update(A, B, "refs/heads/main"))
    assert tags_of(updates) == {"v1": A}


POOL = Target(EnvironmentName("preview-robots"), robots=1, lends=True)
ROUTES = Routes((PRODUCTION, STAGING, POOL), (("pr-*", "preview-robots"),))


def test_of_several_refs_each_is_headed_by_where_it_goes() -> None:
    updates = (Update(NOTHING, "a" * 40, "refs/heads/main"), Update(NOTHING, "b" * 40, "refs/heads/pr-7"))
    plan = plan_push(updates, ROUTES, Options(), default_branch="main", forced=frozenset())
    assert [plan.heading(*build) for build in plan.builds] == [
        "=====> main@aaaaaaa → production",
        "=====> pr-7@bbbbbbb → pr-7, a preview on robots of preview-robots",
    ]
    alone = plan_push(updates[:1], ROUTES, Options(), default_branch="main", forced=frozenset())
    assert alone.heading(*alone.builds[0]) is None


def test_a_branch_with_a_preview_may_be_deleted_and_is_spoken_of_once_it_is_gone() -> None:
    preview = Target(EnvironmentName("pr-7"), preview="pr-7")
    routes = Routes((*ROUTES.targets, preview), ROUTES.branches)
    gone = Update("a" * 40, NOTHING, "refs/heads/pr-7")
    plan = plan_push((gone,), routes, Options(), default_branch="main", forced=frozenset())
    assert (plan.lines, plan.refusals) == ((), ())


def test_a_mapping_to_nothing_refuses_the_push_with_what_to_do() -> None:
    update = Update(NOTHING, "a" * 40, "refs/heads/x")
    routes = Routes((PRODUCTION,), (("x", "nowhere"),))
    plan = plan_push((update,), routes, Options(), default_branch="main", forced=frozenset())
    assert "'nowhere'" in plan.refusals[0]
    assert plan.refusals[1] == "  lekiwi robots add NAME --group nowhere"
