"""Taking changes back over HTTP: each kind, once, and never over a newer one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server.context import Context

pytestmark = pytest.mark.engine
WEB = "/api/projects/web"


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        await made.robot("kiwi-1")
        yield made


async def ask(world: FleetWorld, method: str, path: str, body: object = None) -> Any:
    status, _, answer = await world.owner.ask(method, path, body)
    assert status < 300, answer
    return answer


async def undo(world: FleetWorld, **asked: object) -> Any:
    return await ask(world, "POST", f"{WEB}/undo", asked)


async def refused(world: FleetWorld, **asked: object) -> str:
    status, _, answer = await world.owner.ask("POST", f"{WEB}/undo", asked)
    assert status == 409, answer
    return str(answer["message"])


async def activity(world: FleetWorld, query: str = "") -> list[Any]:
    found: list[Any] = await ask(world, "GET", f"{WEB}/activity{query}")
    return found


async def test_the_undo_of_a_rollback_brings_back_what_was_live_and_ends_the_freeze(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    answer = await ask(world, "POST", f"{WEB}/rollback", {"reason": "it smokes"})
    await world.finished(answer["rollout"])
    told = await undo(world, dry_run=True)
    assert (told["done"], told["by"], told["was"]) == (False, "owner", f"rolled production back from {two} to {one}")
    assert (await world.environment()).live == one
    done = await undo(world, change=told["change"])
    assert (done["text"], done["deployment"]) == (f"production runs {two} again instead of {one}", two)
    await world.finished(done["rollout"])
    environment = await world.environment()
    assert (environment.live, environment.freeze) == (two, None)
    [newest, before, *_] = await activity(world)
    assert newest["text"] == f"took change {before['seq']} back: production runs {two} again (before: {one})"
    assert (before["undone_by"], before["undo"], newest["undoes"]) == (newest["seq"], "", before["seq"])


async def test_taking_an_undo_back_does_the_change_again(world: FleetWorld) -> None:
    one, _two = await world.release(), await world.release()
    await ask(world, "POST", f"{WEB}/rollback", {})
    done = await undo(world)
    again = await undo(world, change=int(done["redo"].split()[-1]))
    await world.finished(again["rollout"])
    environment = await world.environment()
    assert environment.live == one
    assert environment.freeze is not None
    assert "taken back already" in await refused(world, change=int(done["redo"].split()[-1]))
    once_more = await undo(world, change=done["change"])
    assert once_more["done"]


async def test_two_undos_go_further_back(world: FleetWorld) -> None:
    one, _two, three = await world.release(), await world.release(), await world.release()
    await undo(world)
    await undo(world)
    assert (await world.environment()).live == one
    assert "nothing was live" in await refused(world)
    assert three


async def test_a_newer_change_is_named_instead_of_taken_back_silently(world: FleetWorld) -> None:
    await ask(world, "PATCH", "/api/robots/kiwi-1", {"labels": {"hw": "v1"}})
    [first, *_] = await activity(world)
    await ask(world, "PATCH", "/api/robots/kiwi-1", {"labels": {"hw": "v2"}})
    [second, *_] = await activity(world)
    message = await refused(world, change=first["seq"])
    assert message.startswith(f"a newer change is in the way: {second['seq']}, by owner at ")
    await undo(world)
    await undo(world, change=first["seq"])
    assert "hw" not in (await world.seen("kiwi-1")).labels


async def test_each_kind_of_change_can_be_taken_back(world: FleetWorld) -> None:
    deployment = await world.release()
    staging = {"name": "staging"}
    await ask(world, "POST", f"{WEB}/environments", staging)
    await ask(world, "PUT", f"{WEB}/environments/staging/policy", {"set": {"auto_deploy": "false"}})
    await undo(world)
    policy = await ask(world, "GET", f"{WEB}/environments/staging/policy")
    assert policy["policy"].get("auto_deploy", True)
    await ask(world, "POST", "/api/robots/kiwi-1/move", {"environment": "staging"})
    await undo(world)
    assert (await world.seen("kiwi-1")).environment == "production"
    await ask(world, "POST", "/api/robots/kiwi-1/drain", {"reason": "new arm"})
    await undo(world)
    await ask(world, "POST", f"{WEB}/environments/production/freeze", {"reason": "demo"})
    await undo(world)
    assert (await world.environment()).freeze is None
    await ask(world, "PUT", f"{WEB}/groups/lab", {"selector": "site=lab"})
    await undo(world)
    await ask(world, "PUT", f"{WEB}/aliases/stable", {"deployment": deployment})
    await undo(world)
    assert (await ask(world, "GET", f"{WEB}/aliases"))["aliases"] == []
    change = {"scope": "environment", "of": "production", "set": [{"name": "COLOUR", "value": "red"}]}
    await ask(world, "POST", f"{WEB}/variables", change)
    await undo(world)
    left = (await ask(world, "GET", f"{WEB}/variables"))["variables"]
    assert [one["name"] for one in left if not one["removed"]] == []
    await ask(world, "POST", f"{WEB}/robots", {"name": "kiwi-9", "group": "production"})
    told = await undo(world)
    assert told["text"] == "robot kiwi-9 is forgotten"
    undone = [one["action"] for one in await activity(world) if one["undone_by"] is not None]
    assert undone == [
        "robot.add", "variables.change", "alias.set", "group.set", "environment.freeze", "robot.drain", "robot.move", "environment.set",
    ]  # fmt: skip


async def test_a_change_that_cannot_be_taken_back_says_so(world: FleetWorld) -> None:
    changes = await activity(world)
    joined = next(one for one in changes if one["action"] == "robot.join")
    assert (joined["undo"], joined["origin"].split(" ")[0]) == ("", "127.0.0.1")
    assert "cannot be taken back" in await refused(world, change=joined["seq"])
    added = next(one for one in changes if one["action"] == "robot.add")
    assert "a machine has joined as kiwi-1" in await refused(world, change=added["seq"])
    status, _, answer = await world.owner.ask("POST", f"{WEB}/undo", {"change": 99999})
    assert (status, answer["code"]) == (404, "not_found")


async def test_activity_is_narrowed_by_type_environment_and_time(world: FleetWorld) -> None:
    await ask(world, "POST", f"{WEB}/environments/production/freeze", {"reason": "demo"})
    assert {one["action"] for one in await activity(world, "?type=robot")} == {"robot.add", "robot.join"}
    [freeze] = await activity(world, "?type=environment.freeze&environment=production&since=1h")
    assert (freeze["text"], freeze["reason"], freeze["undo"]) == (
        "froze production",
        "demo",
        f"lekiwi undo {freeze['seq']}",
    )
    assert await activity(world, "?type=token") == []
    older = await activity(world, f"?cursor={freeze['seq']}&limit=1")
    assert [one["seq"] < freeze["seq"] for one in older] == [True]


async def test_a_reason_comes_with_routes_that_have_no_field_for_it(world: FleetWorld) -> None:
    asker = world.owner
    patch = {"labels": {"hw": "v1"}}
    status, _, _ = await asker.ask("PATCH", "/api/robots/kiwi-1", patch, lekiwi_reason="zur%C3%BCck")
    assert status == 200
    [newest, *_] = await activity(world)
    assert (newest["action"], newest["reason"]) == ("robot.label", "zurück")


async def test_a_robot_taken_back_by_hand_goes_on_again_and_back_again(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    answer = await ask(world, "POST", f"{WEB}/rollback", {"robot": "kiwi-1"})
    await world.finished(answer["rollout"])
    told = await undo(world)
    assert told["text"] == "robot kiwi-1 follows its environment again"

    async def follows() -> bool:
        seen = await world.seen("kiwi-1")
        return seen.desired == two and seen.pin is None and seen.running is not None and seen.running.deployment == two

    await world.until("it follows its environment", follows)
    again = await undo(world, change=int(told["redo"].split()[-1]))
    assert (again["deployment"], again["text"]) == (one, f"robot kiwi-1 is pinned to {one} again")
    await world.finished(again["rollout"])


async def test_what_was_never_proven_comes_back_through_the_steps(world: FleetWorld) -> None:
    await world.robot("kiwi-2")
    await world.release()
    rollout = "[{robots: 1, approval: true}]"
    await ask(world, "PUT", f"{WEB}/environments/production/policy", {"set": {"rollout": rollout}})
    two = await world.build()
    await world.roll_out(two)
    await ask(world, "POST", f"{WEB}/rollback", {})
    told = await undo(world)
    assert told["deployment"] == two
    course = (await world.rollout(told["rollout"])).course
    assert course is not None and course.at == 1
    paused = await ask(world, "POST", f"/api/rollouts/{told['rollout']}/pause", {"reason": "lunch"})
    assert paused["course"]["paused_by"] == "owner"
    assert (await undo(world))["text"] == f"the rollout {told['rollout']} goes on"
