"""Environments: made, shown and set in lekiwi.yaml's words, seeded from it, and removed."""

from __future__ import annotations

from typing import Any

import pytest
from served_app import Asker

from lekiwi_deploy.server import seeding
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, policies, projects
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.ids import ProjectName

pytestmark = pytest.mark.engine

WEB = ProjectName("web")
ENVIRONMENTS = "/api/projects/web/environments"


@pytest.fixture
async def web(context: Context, owner: Asker) -> Asker:
    """Who asks about a project without environments."""
    async with context.database.transaction() as tx:
        await projects.insert(tx, WEB, "anna", context.now())
    return owner


async def made(asker: Asker, name: str, **more: object) -> Any:
    status, _, told = await asker.ask("POST", ENVIRONMENTS, {"name": name, **more})
    assert status == 201, told
    return told


async def put(asker: Asker, name: str, **body: object) -> tuple[int, Any]:
    status, _, told = await asker.ask("PUT", f"{ENVIRONMENTS}/{name}/policy", body)
    return status, told


async def seed(context: Context, text: str, commit: str = "c" * 40) -> None:
    async with context.database.transaction() as tx:
        await seeding.take_over(tx, context, WEB, read_project_file(text.encode()), commit)


async def test_an_environment_is_made_with_its_branch_and_what_chooses_its_robots(web: Asker) -> None:
    told = await made(web, "staging", branch="develop", groups=["lab"], select="hw!=v1")
    assert (told["branch"], told["configured"]) == ("develop", True)
    _, _, policy = await web.ask("GET", f"{ENVIRONMENTS}/staging/policy")
    assert (policy["policy"]["groups"], policy["policy"]["select"]) == (["lab"], "hw!=v1")
    assert policy["text"].startswith("staging:\n  branch: develop")
    status, _, refused = await web.ask("POST", ENVIRONMENTS, {"name": "staging"})
    assert (status, refused["code"]) == (409, "conflict")
    status, _, refused = await web.ask("POST", ENVIRONMENTS, {"name": "qa", "branch": "develop"})
    assert (status, refused["message"]) == (400, "'develop' is the branch of staging: one environment per branch")


async def test_a_policy_is_set_key_by_key_in_the_words_of_lekiwi_yaml(web: Asker, context: Context) -> None:
    await made(web, "production")
    status, told = await put(
        web, "production", set={"auto_deploy": "false", "rollout": "[{robots: 1, soak: 2m}]"}, reason="careful"
    )
    assert status == 200, told
    assert told["policy"]["auto_deploy"] is False
    assert [(one["key"], one["value"]) for one in told["settings"] if not one["default"]] == [
        ("auto_deploy", "false"),
        ("rollout", "[{robots: 1, soak: 2m}]"),
    ]
    status, told = await put(web, "production", unset=["auto_deploy"], set={"in_flight": "3"})
    assert (told["policy"].get("auto_deploy", True), told["policy"]["in_flight"]) == (True, 3)
    async with context.database.transaction() as tx:
        newest, first, _ = await audit.newest(tx, 3)
    assert (newest.action, newest.detail["changed"]) == (
        "environment.set",
        {"auto_deploy": ["false", "true"], "in_flight": ["(any number)", "3"]},
    )
    assert (first.reason, first.undo is not None) == ("careful", True)


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("auto_deploy", "yes", "production.auto_deploy: must be true or false, not 'yes'"),
        ("canary", "1", "production.canary: is not known: did you mean rollout?"),
        (
            "health_check",
            "strict",
            "production.health_check: unknown key 'health_check'; did you mean 'health_checks'?",
        ),
        ("notify", "x", "production.notify: is not supported yet: leave it out"),
        ("rollout", "[{robot: 1}]", "production.rollout[0].robot: unknown key 'robot'; did you mean 'robots'?"),
    ],
)
async def test_what_lekiwi_yaml_would_refuse_is_refused_in_the_same_words(
    web: Asker, key: str, value: str, wrong: str
) -> None:
    await made(web, "production")
    status, told = await put(web, "production", set={key: value})
    assert (status, told["message"]) == (400, wrong)


async def test_a_whole_block_or_file_replaces_the_policy(web: Asker) -> None:
    await made(web, "production")
    await put(web, "production", set={"in_flight": "3"})
    _, told = await put(web, "production", text="auto_deploy: false\n", file="policy.yaml")
    assert (told["policy"]["auto_deploy"], "in_flight" in told["policy"]) == (False, False)
    _, told = await put(web, "production", text="staging: {}\nproduction: {max_failures: 1}\n", file="lekiwi.yaml")
    assert (told["policy"]["max_failures"], "auto_deploy" in told["policy"]) == (1, False)
    told_before = told
    status, told = await put(web, "production", text="staging: {}\n", file="lekiwi.yaml")
    assert (status, told["message"]) == (404, "lekiwi.yaml says nothing of production: it has staging")
    status, told = await put(web, "production", text="in_flight: -1\n", file="policy.yaml")
    assert told["message"] == "policy.yaml:1: in_flight: must be between 1 and 100000, not -1"
    _, _, shown = await web.ask("GET", f"{ENVIRONMENTS}/production/policy")
    _, again = await put(web, "production", text=shown["text"])
    assert (again["policy"], again["change"]) == (told_before["policy"], None)


async def test_what_people_set_holds_until_lekiwi_yaml_says_something_else(web: Asker, context: Context) -> None:
    await seed(context, "production: {auto_deploy: false, in_flight: 2}")
    await put(web, "production", set={"in_flight": "5"})
    await seed(context, "production: {auto_deploy: false, in_flight: 2}\ntest: {run: make}")
    _, _, shown = await web.ask("GET", f"{ENVIRONMENTS}/production/policy")
    assert shown["policy"]["in_flight"] == 5
    assert (shown["seeded"], shown["differs"]) == (True, [{"key": "in_flight", "here": "5", "file": "2"}])
    await seed(context, "production: {auto_deploy: false, in_flight: 3}")
    _, _, shown = await web.ask("GET", f"{ENVIRONMENTS}/production/policy")
    assert (shown["policy"]["in_flight"], shown["differs"]) == (3, [])
    await put(web, "production", set={"in_flight": "9"})
    _, told = await put(web, "production", follow_file=True)
    assert told["policy"]["in_flight"] == 3
    async with context.database.transaction() as tx:
        changes = await audit.newest(tx, 20)
    assert [change.actor for change in changes if change.action == "environment.set"] == [
        "owner",
        "owner",
        "lekiwi.yaml",
        "owner",
        "lekiwi.yaml",
    ]


async def test_groups_and_branches_of_lekiwi_yaml_are_taken_over_and_what_people_set_is_kept(
    web: Asker, context: Context
) -> None:
    await seed(context, 'groups: {lab: "site=lab", dev: "site=desk"}\nbranches: {main: production, "pr-*": lab}')
    async with context.database.transaction() as tx:
        assert await policies.branches(tx, WEB) == (("main", "production"), ("pr-*", "lab"))
    await web.ask("PUT", "/api/projects/web/groups/lab", {"selector": "site in (lab, hall)"})
    await seed(context, 'groups: {lab: "site=lab"}')
    _, _, told = await web.ask("GET", "/api/projects/web/groups")
    assert [(one["name"], one["selector"]) for one in told["groups"]] == [("lab", "site in (lab, hall)")]
    await seed(context, 'groups: {lab: "site=cellar"}')
    _, _, told = await web.ask("GET", "/api/projects/web/groups/lab")
    assert (told["selector"], told["by"]) == ("site=cellar", "lekiwi.yaml")


async def test_a_branch_that_lekiwi_yaml_no_longer_names_is_no_longer_the_environments(
    web: Asker, context: Context
) -> None:
    await seed(context, "qa: {branch: next}")
    await seed(context, "qa: {in_flight: 1}")
    _, _, shown = await web.ask("GET", f"{ENVIRONMENTS}/qa/policy")
    assert shown["branch"] is None
    await put(web, "qa", set={"branch": "mine"})
    await seed(context, "qa: {in_flight: 2}")
    _, _, shown = await web.ask("GET", f"{ENVIRONMENTS}/qa/policy")
    assert (shown["branch"], shown["policy"]["in_flight"]) == ("mine", 2)


async def test_only_an_environment_without_robots_is_removed(web: Asker) -> None:
    await made(web, "staging")
    await web.ask("POST", "/api/projects/web/robots", {"name": "kiwi-001", "group": "staging"})
    status, _, told = await web.ask("DELETE", f"{ENVIRONMENTS}/staging")
    assert (status, told["message"]) == (409, "staging has 1 robot: move them first")
    await web.ask("DELETE", "/api/robots/kiwi-001")
    status, _, _ = await web.ask("DELETE", f"{ENVIRONMENTS}/staging")
    assert status == 204
    status, _, told = await web.ask("GET", f"{ENVIRONMENTS}/staging/policy")
    assert (status, told["code"]) == (404, "not_found")


async def test_a_viewer_sets_nothing(web: Asker, asking: dict[Role, Asker]) -> None:
    viewer = asking[Role.VIEWER]
    await made(web, "staging")
    assert (await put(viewer, "staging", set={"in_flight": "1"}))[0] == 403
    assert (await viewer.ask("POST", ENVIRONMENTS, {"name": "qa"}))[0] == 403
    assert (await viewer.ask("DELETE", f"{ENVIRONMENTS}/staging"))[0] == 403
    assert (await viewer.ask("PUT", "/api/projects/web/groups/lab", {"selector": "a=b"}))[0] == 403
