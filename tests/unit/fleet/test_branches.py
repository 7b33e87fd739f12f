"""Which environment a pushed ref deploys to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.fleet.branches import Deploys, DeploysNothing, Target, environment_for
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
