"""Projects, environments, freezes, and the history of changes."""

from __future__ import annotations

import pytest
from served_app import Asker

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName

pytestmark = pytest.mark.engine

WEB = ProjectName("web")
PRODUCTION = EnvironmentName("production")


@pytest.fixture
async def web(context: Context) -> ProjectName:
    """A project with one environment."""
    async with context.database.transaction() as tx:
        await projects.insert(tx, WEB, "anna", context.now())
        assert await projects.ensure_environment(tx, WEB, PRODUCTION, context.now())
        assert not await projects.ensure_environment(tx, WEB, PRODUCTION, context.now())
    return WEB


async def test_a_project_is_made_once_and_says_where_its_git_remote_is(owner: Asker) -> None:
    status, _, made = await owner.ask("POST", "/api/projects", {"name": "web"})
    assert (status, made["git"], made["environments"]) == (201, "/git/web.git", [])
    status, _, told = await owner.ask("POST", "/api/projects", {"name": "web"})
    assert (status, told["code"]) == (409, "conflict")
    assert [project["name"] for project in (await owner.ask("GET", "/api/projects"))[2]] == ["web"]
    assert (await owner.ask("GET", "/api/projects/web"))[2] == made


async def test_an_environment_that_nobody_configured_has_the_defaults(owner: Asker, web: ProjectName) -> None:
    _, _, project = await owner.ask("GET", f"/api/projects/{web}")
    [environment] = project["environments"]
    assert environment["configured"] is False
    assert (environment["auto_deploy"], environment["health_checks"], environment["rollback_on_error"]) == (
        True,
        "minimal",
        True,
    )
    assert (environment["robots"], environment["online"], environment["freeze"]) == (0, 0, None)


async def test_a_freeze_keeps_its_first_reason_until_it_is_lifted_and_tells_the_reconciler(
    owner: Asker, web: ProjectName, context: Context
) -> None:
    where = f"/api/projects/{web}/environments/production"
    _, _, frozen = await owner.ask("POST", f"{where}/freeze", {"reason": "fair"})
    assert (frozen["freeze"]["by"], frozen["freeze"]["why"]) == ("owner", "fair")
    _, _, again = await owner.ask("POST", f"{where}/freeze", {"reason": "other"})
    assert again["freeze"] == frozen["freeze"]
    with context.nudges.subscribe("refs") as hint:
        _, _, thawed = await owner.ask("POST", f"{where}/unfreeze", {})
        assert thawed["freeze"] is None
        assert await hint.wait(5) == {"web"}
    assert (await owner.ask("POST", f"{where}/unfreeze", {}))[0] == 200


async def test_every_change_is_in_the_history_once(owner: Asker, web: ProjectName, context: Context) -> None:
    where = f"/api/projects/{web}/environments/production"
    for action in ("freeze", "freeze", "unfreeze", "unfreeze"):
        await owner.ask("POST", f"{where}/{action}", {})
    await owner.ask("POST", "/api/projects", {"name": "web"})
    async with context.database.transaction() as tx:
        history = await audit.newest(tx, 10, ("project/web",))
        assert await audit.newest(tx, 10, ("project/we_",)) == []
    assert [(change.actor, change.action) for change in history] == [
        ("owner", "environment.unfreeze"),
        ("owner", "environment.freeze"),
    ]


async def test_freezing_what_is_not_there_names_what_is(owner: Asker, web: ProjectName) -> None:
    status, _, told = await owner.ask("POST", f"/api/projects/{web}/environments/staging/freeze", {})
    assert status == 404
    assert "production" in told["message"]
    assert (await owner.ask("POST", "/api/projects/arm/environments/production/freeze", {}))[0] == 404
    assert (await owner.ask("POST", f"/api/projects/{web}/environments/production/freeze", {"reason": "x" * 2000}))[
        0
    ] == 400


async def test_a_viewer_changes_nothing(asking: dict[Role, Asker], web: ProjectName) -> None:
    viewer = asking[Role.VIEWER]
    for action in ("freeze", "unfreeze"):
        assert (await viewer.ask("POST", f"/api/projects/{web}/environments/production/{action}", {}))[0] == 403
