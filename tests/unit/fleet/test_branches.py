"""Which environment a pushed ref deploys to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.branches import (
    Deploys,
    DeploysNothing,
    Previews,
    Routes,
    Target,
    environment_for,
    fits,
    preview_name,
)
from lekiwi_deploy.wire.ids import EnvironmentName


def target(name: str, branch: str | None = None, robots: int = 1) -> Target:
    return Target(EnvironmentName(name), branch, robots)


PRODUCTION, STAGING, FIELD = target("production"), target("staging"), target("field")


@pytest.mark.parametrize(
    ("ref", "environments", "goes_to"),
    [
        ("refs/heads/main", [PRODUCTION], "production"),
        ("refs/heads/master", [PRODUCTION, STAGING], "production"),
        ("refs/heads/main", [target("production", robots=0)], "production"),
        ("refs/heads/main", [FIELD], "field"),
        ("refs/heads/main", [FIELD, target("lab", robots=0)], "field"),
        ("refs/heads/staging", [PRODUCTION, STAGING], "staging"),
        ("refs/heads/release", [target("production", "release"), STAGING], "production"),
        ("refs/heads/main", [target("production", "release"), target("field", "main")], "field"),
        ("refs/heads/feature/x", [target("preview", "feature/x")], "preview"),
    ],
)
def test_a_branch_goes_to_its_environment(ref: str, environments: list[Target], goes_to: str) -> None:
    found = environment_for(ref, environments)
    assert isinstance(found, Deploys)
    assert found.environment == goes_to


@pytest.mark.parametrize(
    ("ref", "environments", "words"),
    [
        ("refs/heads/main", [], "lekiwi robots add"),
        ("refs/heads/main", [target("lab", robots=0)], "lekiwi robots add"),
        ("refs/heads/main", [FIELD, STAGING], "field, staging"),
        ("refs/heads/main", [target("production", "release")], "lekiwi robots add"),
        ("refs/heads/production", [target("production", "release")], "no environment follows"),
        ("refs/heads/x", [target("a", "x"), target("b", "x")], "a and b"),
        ("refs/heads/feature", [PRODUCTION], "no environment follows the branch feature"),
        ("refs/tags/v1.0.0", [PRODUCTION], "v1.0.0 names a version"),
        ("refs/notes/commits", [PRODUCTION], "neither a branch nor a tag"),
    ],
)
def test_what_deploys_nothing_says_why_in_one_line(ref: str, environments: list[Target], words: str) -> None:
    found = environment_for(ref, environments)
    assert isinstance(found, DeploysNothing)
    assert words in found.why
    assert "\n" not in found.why


def test_a_push_option_overrides_everything() -> None:
    for ref in ("refs/heads/main", "refs/heads/x", "refs/tags/v1"):
        found = environment_for(ref, [PRODUCTION, STAGING], "staging")
        assert isinstance(found, Deploys)
        assert found.environment == "staging"
    with pytest.raises(NotFound, match="production, staging"):
        environment_for("refs/heads/main", [STAGING, PRODUCTION], "nowhere")


NAMES = st.sampled_from(["production", "staging", "main", "field"])
TARGETS = st.lists(
    st.builds(target, NAMES, st.none() | st.sampled_from(["main", "x", "production"]), st.integers(0, 2)),
    unique_by=lambda one: one.name,
)


@given(TARGETS, st.sampled_from(["main", "master", "x", "staging", "production", "other"]))
def test_the_order_of_environments_makes_no_difference_and_a_configured_one_keeps_to_its_branch(
    targets: list[Target], branch: str
) -> None:
    found = environment_for(f"refs/heads/{branch}", targets)
    assert found == environment_for(f"refs/heads/{branch}", targets[::-1])
    if isinstance(found, Deploys):
        (chosen,) = [one for one in targets if one.name == found.environment]
        assert chosen.branch in (None, branch)


POOL = Target(EnvironmentName("preview-robots"), robots=2, lends=True)
MAPPED = (("main", "production"), ("staging", "staging-robots"), ("release/*", "staging"), ("pr-*", "preview-robots"))
GROUPED = Target(EnvironmentName("staging"), groups=("staging-robots",), robots=3)


def mapped(branch: str, *more: Target) -> Deploys | Previews | DeploysNothing:
    return environment_for(f"refs/heads/{branch}", [PRODUCTION, GROUPED, POOL, *more], branches=MAPPED)


@pytest.mark.parametrize(
    ("branch", "goes_to"), [("main", "production"), ("staging", "staging"), ("release/1.2", "staging")]
)
def test_the_mapping_names_an_environment_or_the_group_of_one(branch: str, goes_to: str) -> None:
    found = mapped(branch)
    assert isinstance(found, Deploys)
    assert found.environment == goes_to


def test_an_environment_goes_before_a_group_unless_it_only_stands_in_for_it() -> None:
    own = Target(EnvironmentName("staging-robots"), robots=2)
    chosen, stood_in = mapped("staging", own), mapped("staging", replace(own, stands_in=True))
    assert isinstance(chosen, Deploys) and chosen.environment == "staging-robots"
    assert isinstance(stood_in, Deploys) and stood_in.environment == "staging"


def test_what_stands_in_for_a_group_that_no_environment_has_is_what_is_meant() -> None:
    lone = Target(EnvironmentName("lab-robots"), robots=2, stands_in=True)
    found = environment_for("refs/heads/lab", [PRODUCTION, lone], branches=(("lab", "lab-robots"),))
    assert isinstance(found, Deploys) and found.environment == "lab-robots"


def test_a_pattern_that_goes_to_robots_that_are_lent_makes_a_preview_of_each_branch() -> None:
    found = mapped("pr-12")
    assert found == Previews(EnvironmentName("pr-12"), "pr-12", POOL.name, "pr-* goes to preview-robots")


def test_a_group_lends_when_it_is_called_so_and_its_environment_has_no_other() -> None:
    lab = Target(EnvironmentName("lab"), groups=("preview-robots",))
    found = environment_for("refs/heads/pr-1", [lab], branches=MAPPED)
    assert isinstance(found, Previews)
    assert found.pool == "lab"
    both = Target(EnvironmentName("lab"), groups=("preview-robots", "arms"))
    assert isinstance(environment_for("refs/heads/pr-1", [both], branches=MAPPED), Deploys)


def test_the_first_pattern_that_fits_counts() -> None:
    branches = (("pr-1*", "production"), ("pr-*", "preview-robots"))
    found = environment_for("refs/heads/pr-12", [PRODUCTION, POOL], branches=branches)
    assert isinstance(found, Deploys)


def test_an_environments_own_branch_goes_before_the_mapping_and_the_push_option_before_both() -> None:
    own = target("special", "pr-12")
    found = mapped("pr-12", own)
    assert isinstance(found, Deploys)
    assert found.environment == "special"
    chosen = environment_for("refs/heads/pr-12", [PRODUCTION, own, POOL], "production", MAPPED)
    assert isinstance(chosen, Deploys)
    assert chosen.environment == "production"


def test_what_no_pattern_fits_goes_where_it_always_went() -> None:
    assert isinstance(mapped("feature"), DeploysNothing)
    found = mapped("field", FIELD)
    assert isinstance(found, Deploys)
    assert found.environment == "field"


def test_a_mapping_to_nothing_says_what_there_is() -> None:
    with pytest.raises(NotFound) as caught:
        environment_for("refs/heads/staging", [PRODUCTION, POOL], branches=MAPPED)
    assert "sends staging (staging) to 'staging-robots'" in caught.value.message
    assert "environments: preview-robots, production" in caught.value.message
    assert "lekiwi robots add NAME --group staging-robots" in caught.value.next


def test_a_group_of_several_environments_is_no_target() -> None:
    other = Target(EnvironmentName("other"), groups=("staging-robots",))
    with pytest.raises(NotFound, match="a group of other and staging"):
        mapped("staging", other)


def test_a_preview_is_nobodys_default_and_takes_no_other_branch() -> None:
    own = Target(EnvironmentName("pr-12"), preview="pr-12", robots=1)
    assert isinstance(mapped("pr-12", own), Previews)
    assert isinstance(environment_for("refs/heads/pr-12", [own]), DeploysNothing)
    assert isinstance(environment_for("refs/heads/main", [own]), DeploysNothing)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (target("pr-12"), "an environment of its own"),
        (Target(EnvironmentName("pr-12"), preview="PR/12"), "the preview of PR/12"),
    ],
)
def test_a_preview_takes_no_name_that_something_else_has(there: Target, said: str) -> None:
    with pytest.raises(Conflict, match=said):
        mapped("pr-12", there)


def test_a_branch_that_can_name_nothing_gets_no_preview() -> None:
    assert preview_name("PR/Fix-Gripper") == "pr-fix-gripper"
    with pytest.raises(BadInput, match="can have no preview"):
        preview_name("pr-é")


def test_main_is_never_a_preview() -> None:
    found = environment_for("refs/heads/main", [PRODUCTION, POOL], branches=(("*", "preview-robots"),))
    assert isinstance(found, Deploys)
    assert found.environment == "production"


@given(st.text(alphabet="ab/*", max_size=6), st.text(alphabet="ab/", max_size=8))
def test_a_star_stands_for_anything(pattern: str, branch: str) -> None:
    parts = pattern.split("*")
    if fits(pattern, branch):
        assert branch.startswith(parts[0])
        assert branch.endswith(parts[-1])
    assert fits(branch, branch)
    assert fits("*", branch)


def test_production_is_there_as_soon_as_the_mapping_names_it() -> None:
    routes = Routes((FIELD,), (("main", "production"),)).with_production()
    found = routes.of("refs/heads/main")
    assert isinstance(found, Deploys)
    assert found.environment == "production"
    assert Routes((FIELD,)).with_production() == Routes((FIELD,))
