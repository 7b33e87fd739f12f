"""groups, select, branches, approvals, previews and what becomes of robots that are off, in lekiwi.yaml."""

from __future__ import annotations

import pytest

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.builds.spec import ProjectSpec
from lekiwi_deploy.wire.policy import Approvals, Policy, Preview


def read(text: str) -> ProjectSpec:
    return read_project_file(text.encode())


def policy(block: str) -> Policy:
    (found,) = read(f"production: {block}").environments
    return found.policy


def test_the_products_own_configuration_means_what_it_says() -> None:
    found = read(
        "production:  {auto_deploy: false, health_checks: strict,  rollback_on_error: true,  deployment_window: null}\n"
        "staging:     {auto_deploy: true,  health_checks: normal,  rollback_on_error: true}\n"
        "development: {auto_deploy: true,  health_checks: minimal, rollback_on_error: false}\n"
    )
    by_name = {one.name: one.policy for one in found.environments}
    assert by_name["production"] == Policy(auto_deploy=False, health_checks="strict")
    assert by_name["staging"] == Policy(health_checks="normal")
    assert by_name["development"].undo == "nothing"


def test_groups_are_selectors_by_name_and_branches_keep_their_order() -> None:
    found = read(
        'groups: {lab: "site=lab, hw!=v1"}\nbranches: {main: production, staging: lab, "pr-*": lab}\nproduction: {}\n'
    )
    assert found.groups == {"lab": "site=lab, hw!=v1"}
    assert found.branches == (("main", "production"), ("staging", "lab"), ("pr-*", "lab"))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("{groups: lab}", Policy(groups=("lab",))),
        ("{groups: [lab, field]}", Policy(groups=("lab", "field"))),
        ('{select: "site in (a, b)"}', Policy(select="site in (a, b)")),
        ("{approvals: 2}", Policy(approvals=Approvals(count=2))),
        ("{approvals: 0}", Policy(approvals=Approvals(count=0))),
        (
            "{approvals: {not_author: true, expires: 1d}}",
            Policy(approvals=Approvals(not_author=True, expires_s=86400.0)),
        ),
        ("{preview: {}}", Policy(preview=Preview())),
        ("{preview: {robots: 2, lease: 30m}}", Policy(preview=Preview(robots=2, lease_s=1800.0))),
        (
            "{min_success: 95%, skip_offline: true, pending_expires: 1d}",
            Policy(min_success=95.0, skip_offline=True, pending_expires_s=86400.0),
        ),
    ],
)
def test_what_is_written_is_the_policy(block: str, expected: Policy) -> None:
    assert policy(block) == expected


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("production: {robots: site=lab}", "is not known: did you mean select?"),
        ("production: {approval: 1}", "is not known: did you mean approvals?"),
        ("production: {auto_deploy: true, groups: []}", "must not be an empty list"),
        ("production: {groups: [lab, lab]}", "lab is there twice"),
        ("production: {select: a b}", "cannot be read"),
        ("production: {approvals: 11}", "must be between 0 and 10"),
        ("production: {approvals: {people: 2}}", "unknown key 'people'"),
        ("production: {min_success: 101}", "must be between 0 and 100"),
        ("production: {pending_expires: 7}", "needs a unit"),
        ("production: {preview: true}", "must be a mapping"),
        ("groups: {lab: ''}", "must not be empty"),
        ("groups: {Lab: a=b}", "cannot name a group"),
        ("groups: [lab]", "must be a mapping"),
        ("branches: {'a b': production}", "cannot be a branch's name"),
        ("branches: {main: [production]}", "must be text"),
        ("branches: {main: staging}\nproduction: {branch: main}", "it is the branch of 'production': say one of them"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_place(text: str, wrong: str) -> None:
    with pytest.raises(BadInput, match=r"^lekiwi\.yaml:\d+: ") as refused:
        read(text)
    assert wrong in refused.value.message


def test_a_branch_that_goes_to_a_group_of_the_environment_that_follows_it_is_said_twice_and_the_same() -> None:
    assert read("branches: {main: lab}\nproduction: {branch: main, groups: lab}").branches == (("main", "lab"),)


def test_a_block_that_names_no_robots_has_those_that_its_branch_goes_to() -> None:
    found = read(
        "branches: {main: production, staging: staging-robots, lab: bench}\nproduction: {}\nstaging: {}\nlab: {select: site=lab}\n"
    )
    by_name = {one.name: one.policy for one in found.environments}
    assert by_name["staging"].groups == ("staging-robots",)
    assert by_name["production"].groups == ()
    assert by_name["lab"] == Policy(select="site=lab"), "it says itself which robots it has"
