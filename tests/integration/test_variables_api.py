"""Variables over HTTP: who gets what at which revision, what is refused, and what the database and the answers never hold."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker, make_token
from simulated_robot import SimulatedRobot

from lekiwi_deploy.errors import Conflict, Failed
from lekiwi_deploy.fleet.undoing import VariablesAgain
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import installation, variables
from lekiwi_deploy.server.variables.changing import put_back
from lekiwi_deploy.server.variables.giving import Vault
from lekiwi_deploy.server.variables.key import VariablesKey, read_key
from lekiwi_deploy.server.variables.opening import KEY_FILE, open_key, settle_file
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RolloutId
from lekiwi_deploy.wire.sealing import unseal
from lekiwi_deploy.wire.variables import Variable, VariableDifferences, Variables, VariablesChanged

pytestmark = pytest.mark.engine

WEB = ProjectName("web")
PLAIN = "secret123"


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        await made.robot()
        yield made


async def released(world: FleetWorld, *reads: str) -> DeploymentId:
    """A deployment whose services declare these names, live everywhere."""
    deployment = await world.build()
    async with world.context.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO manifests (digest, project, size, variables) SELECT package_hash, project, 10, %s FROM deployments WHERE id = %s",
            (list(reads), deployment),
        )
    await world.finished(await world.roll_out(deployment))
    return deployment


async def change(
    world: FleetWorld,
    scope: str = "project",
    of: str = "",
    remove: tuple[str, ...] = (),
    more: dict[str, Any] | None = None,
    **values: str,
) -> tuple[int, Any]:
    """Status and answer of a change that sets `values`."""
    asked = {"scope": scope, "of": of, "set": [{"name": n, "value": v} for n, v in values.items()], "remove": remove}
    status, _, body = await world.owner.ask("POST", "/api/projects/web/variables", asked | (more or {}))
    return status, body


async def set_(world: FleetWorld, scope: str = "project", of: str = "", **values: str) -> VariablesChanged:
    """Sets them, new or not."""
    status, body = await change(world, scope, of, (), {"replace": True}, **values)
    assert status == 200, body
    return msgspec.convert(body, VariablesChanged)


async def listed(world: FleetWorld, query: str = "") -> dict[str, Variable]:
    """`GET variables`, by name."""
    found = await world.get(f"/api/projects/web/variables{query}", Variables)
    return {one.name: one for one in found.variables}


def given(robot: SimulatedRobot) -> dict[str, str] | None:
    """What the robot was sent with its desired state, opened with its key."""
    assert robot.desired is not None
    sent = robot.desired.variables
    return unseal(sent.sealed, robot.key) if sent is not None else None


async def test_a_deployment_goes_with_the_variables_of_when_it_first_went_live(world: FleetWorld) -> None:
    [robot] = world.robots
    none = await released(world, "API_KEY")
    assert given(robot) is None
    await set_(world, API_KEY="one")
    assert given(robot) is None
    first = await released(world, "API_KEY")
    assert given(robot) == {"API_KEY": "one"}
    await set_(world, API_KEY="two")
    await released(world, "API_KEY")
    assert given(robot) == {"API_KEY": "two"}
    for target, had in ((first, {"API_KEY": "one"}), (none, None)):
        status, _, body = await world.owner.ask("POST", "/api/projects/web/rollback", {"to": target})
        assert status == 200
        await world.finished(body["rollout"])
        assert given(robot) == had


async def test_a_robot_that_comes_back_is_told_the_same_again(world: FleetWorld) -> None:
    [robot] = world.robots
    await set_(world, API_KEY="one")
    await released(world, "API_KEY")
    before = robot.desired
    await set_(world, API_KEY="two")
    await world.owner.ask("PATCH", f"/api/robots/{robot.name}", {"labels": {"hw": "v2"}})
    await robot.close()
    await robot.welcomed()
    assert before is not None and before.variables is not None
    assert robot.desired is not None and robot.desired.variables == before.variables


async def test_only_what_a_service_declares_is_sent(world: FleetWorld) -> None:
    [robot] = world.robots
    changed = await set_(world, API_KEY="one", OTHER="two")
    assert changed.undeclared == ()  # nothing was deployed yet
    await released(world, "API_KEY")
    assert given(robot) == {"API_KEY": "one"}
    assert robot.desired is not None and robot.desired.variables is not None
    assert robot.desired.variables.secrets == ("API_KEY",)
    changed = await set_(world, OTHER="three")
    assert (changed.undeclared, changed.services, changed.environments) == (("OTHER",), ("web",), ())


async def test_the_narrowest_scope_goes_first_and_others_do_not_see_it(world: FleetWorld) -> None:
    other = await world.robot("kiwi-two")
    [robot, _] = world.robots
    await world.owner.ask("PATCH", f"/api/robots/{other.name}", {"labels": {"hw": "v2"}})
    await set_(world, MODE="project", REGION="all")
    await set_(world, "environment", "production", MODE="environment")
    await set_(world, "branch", "ma*", MODE="branch")
    await set_(world, "tag", "hw=v2", MODE="tag")
    await set_(world, "robot", robot.name, MODE="robot")
    await released(world, "MODE", "REGION")
    assert given(robot) == {"MODE": "robot", "REGION": "all"}
    assert given(other) == {"MODE": "tag", "REGION": "all"}
    resolved = await listed(world, f"?resolved=true&robot={other.name}")
    assert [(one.name, one.scope, one.of, one.value) for one in resolved.values()] == [
        ("MODE", "tag", "hw=v2", "tag"),
        ("REGION", "project", "", "all"),
    ]
    everywhere = await listed(world, "?resolved=true")
    assert (everywhere["MODE"].scope, everywhere["MODE"].value) == ("branch", "branch")


async def test_several_environments_are_changed_together_or_not_at_all(world: FleetWorld) -> None:
    await world.robot("kiwi-two", group="staging")
    await set_(world, "environment", "staging", MODE="old")
    assert (await change(world, "environment", "production,staging", MODE="new"))[0] == 409
    assert "MODE" not in await listed(world, "?environment=production")
    assert (await set_(world, "environment", "production,staging", MODE="new")).changed == ("MODE",)
    for name in ("production", "staging"):
        assert (await listed(world, f"?environment={name}"))["MODE"].value == "new"


async def test_previews_get_nothing_of_the_project(world: FleetWorld) -> None:
    [robot] = world.robots
    await set_(world, API_KEY="one", MODE="calm")
    await set_(world, "environment", "production", MODE="wild")
    async with world.context.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO previews (project, environment, branch, pool, wants, lease_s, opened_by, opened_at) "
            "VALUES ('web', 'production', 'main', 'pool', 1, 60, 'anna', now())"
        )
    await released(world, "API_KEY", "MODE")
    assert given(robot) == {"MODE": "wild"}


async def test_what_is_there_is_a_conflict_what_is_not_is_not_found(world: FleetWorld) -> None:
    assert (await change(world, A="1"))[0] == 200
    status, body = await change(world, A="1", B="2")
    assert (status, body["code"], body["next"]) == (409, "conflict", ["lekiwi env update A"])
    assert "B" not in await listed(world)  # all or nothing
    for scope, of in (("environment", "staging"), ("robot", "nobody")):
        status, body = await change(world, scope, of, A="1")
        assert (status, body["code"]) == (404, "not_found"), body
    assert (await change(world, remove=("B",)))[0] == 404
    status, body = await change(world, more={"replace": True, "existing": True}, B="1")
    assert status == 404


async def test_a_secret_is_in_no_answer_and_not_in_the_database(world: FleetWorld) -> None:
    key = secrets.token_urlsafe(8)
    asked = {"scope": "project", "set": [{"name": "API_KEY", "value": PLAIN}, {"name": "MODE", "value": "calm"}]}
    status, _, body = await world.owner.ask("POST", "/api/projects/web/variables", asked, idempotency_key=key)
    assert status == 200 and PLAIN not in str(body)
    assert (await world.owner.ask("POST", "/api/projects/web/variables", asked, idempotency_key=key))[2] == body
    await released(world, "API_KEY", "MODE")
    for path in ("", "?resolved=true", "/history", "/diff?a=0&b=now", "/diff?a=live&b=production"):
        status, _, body = await world.owner.ask("GET", f"/api/projects/web/variables{path}")
        assert status == 200, body
        assert PLAIN not in str(body)
    assert PLAIN not in str((await world.owner.ask("GET", "/api/projects/web/activity"))[2])
    shown = await listed(world)
    assert (shown["API_KEY"].secret, shown["API_KEY"].value) == (True, None)
    assert (shown["MODE"].secret, shown["MODE"].value) == (False, "calm")
    with psycopg.connect(world.context.database.url) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        for table in tables:
            for row in connection.execute(f"SELECT t::text FROM {table} t"):
                assert PLAIN not in row[0] and PLAIN.encode().hex() not in row[0], table


async def test_the_environment_decides_what_is_a_secret_where_people_approve(world: FleetWorld) -> None:
    async with world.context.database.transaction() as tx:
        await tx.execute("""UPDATE environments SET policy = '{"auto_deploy": false}' WHERE name = 'production'""")
    assert (await set_(world, "environment", "production", MODE="calm")).secrets == ("MODE",)
    assert (await set_(world, MODE="calm")).secrets == ()


async def test_robots_that_run_without_a_rotated_value_are_named_until_they_have_it(world: FleetWorld) -> None:
    [robot] = world.robots
    await set_(world, API_KEY="one")
    await released(world, "API_KEY")
    assert (await listed(world))["API_KEY"].live
    await set_(world, API_KEY="two")
    rotated = (await listed(world))["API_KEY"]
    assert (rotated.live, rotated.behind, rotated.behind_robots) == (False, 1, (robot.name,))
    history = await world.get("/api/projects/web/variables/history?name=API_KEY", Variables)
    assert [(one.revision, one.behind) for one in history.variables] == [(rotated.revision, 1), (1, 0)]
    await released(world, "API_KEY")
    assert ((await listed(world))["API_KEY"].live, (await listed(world))["API_KEY"].behind) == (True, 0)
    await change(world, remove=("API_KEY",))
    gone = (await listed(world))["API_KEY"]
    assert (gone.removed, gone.behind) == (True, 1)
    await released(world, "API_KEY")
    assert await listed(world) == {}
    assert given(robot) is None


async def test_a_change_can_be_applied_at_once_and_is_taken_back_with_the_rollback(world: FleetWorld) -> None:
    [robot] = world.robots
    before = await released(world, "MODE")
    status, body = await change(world, more={"apply": True}, MODE="calm")
    changed = msgspec.convert(body, VariablesChanged)
    assert (status, changed.environments) == (200, ("production",))
    await world.finished(RolloutId(changed.rollouts["production"]))
    assert given(robot) == {"MODE": "calm"}
    assert robot.running is not None and robot.running.deployment == changed.deployments["production"]
    status, _, body = await world.owner.ask("POST", "/api/projects/web/rollback", {"to": before})
    await world.finished(body["rollout"])
    assert given(robot) is None


async def test_what_would_change_is_told_without_changing_it(world: FleetWorld) -> None:
    await set_(world, A="1", B="2")
    status, body = await change(world, more={"replace": True, "prune": True, "dry_run": True}, A="2", C="3")
    would = msgspec.convert(body, VariablesChanged)
    assert (status, would.added, would.updated, would.removed, would.undo) == (200, ("C",), ("A",), ("B",), "")
    assert {name: one.value for name, one in (await listed(world)).items()} == {"A": "1", "B": "2"}


async def test_differences_are_of_revisions_environments_and_deployments(world: FleetWorld) -> None:
    await world.robot("kiwi-two", group="staging")
    await set_(world, MODE="calm", REGION="eu")
    await set_(world, "environment", "staging", MODE="wild")
    first = await released(world, "MODE")
    await set_(world, REGION="us")

    async def diff(a: str, b: str, more: str = "") -> list[tuple[str, str, str]]:
        found = await world.get(f"/api/projects/web/variables/diff?a={a}&b={b}{more}", VariableDifferences)
        return [(one.name, one.before_of, one.after_of) for one in found.variables]

    assert await diff("production", "staging") == [("MODE", "project", "environment staging")]
    assert await diff("2", "3") == [("MODE", "", "environment staging")]
    assert await diff(first, "now", "&environment=production") == [("REGION", "project", "project")]
    assert await diff("live", "now", "&environment=production") == [("REGION", "project", "project")]
    assert (await world.owner.ask("GET", "/api/projects/web/variables/diff?a=99&b=1"))[0] == 404


async def test_who_may_only_look_cannot_change_and_nobody_asks_without_a_token(
    world: FleetWorld, context: Context
) -> None:
    secret, _ = await make_token(context, Role.VIEWER)
    viewer = Asker(world.owner.http, secret)
    asked = {"scope": "project", "set": [{"name": "A", "value": "1"}]}
    assert (await viewer.ask("POST", "/api/projects/web/variables", asked))[0] == 403
    assert (await viewer.ask("GET", "/api/projects/web/variables"))[0] == 200
    assert (await Asker(world.owner.http, "none").ask("GET", "/api/projects/web/variables"))[0] == 401


async def test_a_change_is_put_back_unless_somebody_changed_it_since(world: FleetWorld, context: Context) -> None:
    await set_(world, A="1")
    changed = await set_(world, A="2")
    again = VariablesAgain(scope="project", of="", names=("A",), before=1, after=changed.revision)
    async with context.database.transaction() as tx:
        back = await put_back(tx, context, WEB, again, "anna")
    assert (await listed(world))["A"].value == "1"
    async with context.database.transaction() as tx:
        with pytest.raises(Conflict, match="A was changed again since, by anna"):
            await put_back(tx, context, WEB, again, "anna")
        await put_back(tx, context, WEB, back, "anna")
    assert (await listed(world))["A"].value == "2"


async def start(
    context: Context, *, replica: str = "rep_test0000", new: bool = False, rotate: bool = False
) -> VariablesKey:
    """The key of a server that starts over this data."""
    config = replace(context.config, new_variables_key=new, rotate_variables_key=rotate)
    async with context.database.transaction() as tx:
        return await open_key(tx, config, replica=replica, random=secrets.token_bytes, now=context.now())


async def test_a_rotated_key_opens_everything_and_the_old_one_nothing_whenever_the_server_ends(
    world: FleetWorld, context: Context
) -> None:
    await set_(world, API_KEY="one")
    await set_(world, API_KEY="two")
    file, old = context.config.data / KEY_FILE, context.vault.key
    with pytest.raises(Conflict, match="1 other server "):
        await start(context, replica="rep_other000", rotate=True)
    new = await start(context, rotate=True)
    assert read_key(file) == old  # the server ended before it could put the new one there
    assert await start(context) == new
    settle_file(context.config, new)
    assert [path.name for path in file.parent.glob("variables-key*")] == ["variables-key"]
    assert await start(context) == new
    async with context.database.transaction() as tx:
        rows = await variables.all_sealed(tx)
    assert [new.open(WEB, row) for row in rows] == ["one", "two"]
    assert [row.fingerprint for row in rows] == [new.fingerprint(WEB, "API_KEY", value) for value in ("one", "two")]
    with pytest.raises(Failed):
        old.open(WEB, rows[0])


async def test_a_key_that_does_not_fit_is_refused_at_start_and_a_lost_one_empties_what_it_sealed(
    world: FleetWorld, context: Context
) -> None:
    [robot] = world.robots
    await set_(world, API_KEY="one")
    await released(world, "API_KEY")
    file = context.config.data / KEY_FILE
    kept = file.read_text()

    assert (await start(context)).check == context.vault.key.check
    file.unlink()
    with pytest.raises(Failed, match="is missing"):
        await start(context)
    file.write_text("00" * 32)
    file.chmod(0o600)
    with pytest.raises(Failed, match="another key"):
        await start(context)
    file.write_text(kept)
    with pytest.raises(Conflict, match="is not lost"):
        await start(context, new=True)
    file.unlink()
    key = await start(context, new=True)
    assert key.check != context.vault.key.check
    status, body = await change(world, B="2")  # this server still has the old key
    assert status == 503 and "another server" in body["message"]
    async with context.database.transaction() as tx:
        vault = Vault(key, context.objects)
        newest = await vault.at_revision(tx, WEB, await variables.revision(tx, WEB))
        with pytest.raises(Failed, match="lost"):
            key.open(WEB, newest[0])
        assert await installation.variables_key(tx) == key.check
    assert given(robot) == {"API_KEY": "one"}


async def test_changes_wait_for_each_other_so_that_revisions_rise_as_they_are_committed(world: FleetWorld) -> None:
    done = await asyncio.gather(*(set_(world, **{f"V{number}": "x"}) for number in range(8)))
    assert sorted(one.revision for one in done) == list(range(1, 9))
