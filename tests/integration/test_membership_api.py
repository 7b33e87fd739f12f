"""Robots that labels, groups, policies and people put into environments, on real links, with the conductor running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fleet_world import WEB, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server import membership
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit
from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName
from lekiwi_deploy.wire.reasons import Drained, Unplaced

pytestmark = pytest.mark.engine

STAGING = EnvironmentName("staging")


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def ask(world: FleetWorld, method: str, path: str, body: object = None, expect: int = 200) -> Any:
    status, _, told = await world.owner.ask(method, path, body)
    assert status == expect, told
    return told


async def environment(world: FleetWorld, name: str, **more: object) -> None:
    await ask(world, "POST", "/api/projects/web/environments", {"name": name, **more}, 201)


async def runs(world: FleetWorld, robot: str, deployment: DeploymentId) -> None:
    async def there() -> bool:
        running = (await world.seen(robot)).running
        return running is not None and running.deployment == deployment

    await world.until(f"{robot} runs {deployment}", there)


async def test_a_label_moves_a_robot_which_joins_what_is_live_there_and_leaves_what_it_was_in(
    world: FleetWorld,
) -> None:
    await world.robot("kiwi-001")
    await world.robot("kiwi-002")
    first = await world.release()
    await environment(world, "staging", select="site=lab")
    second = await world.build()
    await world.roll_out(second, STAGING)
    told = await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": "lab"}})
    assert (told["environment"], told["placed"]) == ("staging", "its labels fit staging: site=lab")
    await runs(world, "kiwi-001", second)
    live = (await world.environment()).live
    assert live == first
    rollout = (await world.detail(first)).rollout
    assert rollout is not None and [one.robot for one in rollout.robots] == ["kiwi-002"]
    async with world.context.database.transaction() as tx:
        change = next(change for change in await audit.newest(tx, 20) if change.action == "robot.label")
    assert change.detail["moved"] == {"kiwi-001": "production -> staging"}


async def test_a_rollout_is_over_when_the_robots_that_it_waited_for_went_elsewhere(world: FleetWorld) -> None:
    await world.robot("kiwi-001")
    late = await world.robot("kiwi-002")
    await environment(world, "staging")
    await world.release()
    late.slow = True
    rollout = await world.roll_out(await world.build())

    async def asked() -> bool:
        return (await world.rollout(rollout)).counts.live == 1

    await world.until("one has it, one is awaited", asked)
    await ask(world, "POST", "/api/robots/kiwi-002/move", {"environment": "staging"})
    finished = await world.finished(rollout)
    assert (finished.status, finished.live, finished.total) == ("done", 1, 1)


async def test_a_group_that_is_defined_anew_moves_its_robots(world: FleetWorld) -> None:
    await world.robot("kiwi-001")
    await world.robot("kiwi-002")
    await environment(world, "staging", groups=["staging-robots"])
    await ask(world, "PATCH", "/api/robots/kiwi-002", {"labels": {"hw": "v2"}})
    group = await ask(world, "PUT", "/api/projects/web/groups/staging-robots", {"selector": "hw=v2"})
    assert (group["robots"], group["moved"]) == (["kiwi-002"], {"kiwi-002": ["production", "staging"]})
    group = await ask(world, "PUT", "/api/projects/web/groups/staging-robots", {"selector": "hw=v3"})
    lost = await world.seen("kiwi-002")
    assert (lost.environment, lost.out) == (STAGING, Unplaced(environment="staging", selects="group staging-robots"))
    await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"group": "staging-robots"}})
    await ask(world, "DELETE", "/api/projects/web/groups/staging-robots", expect=204)
    assert (await world.seen("kiwi-001")).environment == STAGING
    told = await ask(world, "DELETE", "/api/projects/web/groups/staging-robots", expect=404)
    assert "it is the robots with the label group=staging-robots" in told["message"]


async def test_a_robot_that_fits_nowhere_any_more_keeps_what_it_runs_and_says_why(world: FleetWorld) -> None:
    await environment(world, "staging", select="site=lab")
    robot = await world.robot("kiwi-001", group="staging")
    assert (await world.seen("kiwi-001")).labels == {"site": "lab"}
    first = await world.build()
    await world.finished(await world.roll_out(first, STAGING))
    await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": None}})
    second = await world.build()
    await world.finished(await world.roll_out(second, STAGING))
    assert robot.running is not None and robot.running.deployment == first
    why = await ask(world, "GET", "/api/robots/kiwi-001/why")
    (reason,) = why["reasons"]
    assert reason["text"] == "its labels fit no environment any more (staging has site=lab): it keeps what it runs"
    assert "lekiwi robots move kiwi-001" in reason["clears"]
    await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": "lab"}})
    await runs(world, "kiwi-001", second)


async def test_a_robot_is_moved_by_hand_and_back_with_the_labels_that_belong_there(world: FleetWorld) -> None:
    await world.robot("kiwi-001")
    await environment(world, "staging", groups=["staging-robots"])
    told = await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "staging", "reason": "to try"})
    assert (told["environment"], told["labels"]) == ("staging", {"group": "staging-robots"})
    told = await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "production"})
    assert (told["environment"], told["labels"]) == ("production", {})
    told = await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "nowhere"}, 404)
    assert "no environment 'nowhere'" in told["message"]


async def test_a_robot_cannot_be_moved_out_of_what_its_labels_say(world: FleetWorld) -> None:
    await world.robot("kiwi-001")
    await environment(world, "staging", select="site=lab")
    await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": "lab"}})
    told = await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "production"}, 400)
    assert told["message"] == (
        "the labels of kiwi-001 put it into staging, which has every robot of site=lab: it cannot be in production"
    )
    assert (await world.seen("kiwi-001")).environment == STAGING


async def test_a_pinned_robot_stays_pinned_where_it_is_moved(world: FleetWorld) -> None:
    await world.robot("kiwi-001")
    first = await world.release()
    second = await world.release()
    await ask(world, "POST", "/api/projects/web/rollback", {"robot": "kiwi-001", "to": first})
    await runs(world, "kiwi-001", first)
    await environment(world, "staging")
    await world.finished(await world.roll_out(second, STAGING))
    await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "staging"})
    seen = await world.seen("kiwi-001")
    assert (seen.desired, seen.pin is not None and seen.pin.deployment) == (first, first)


async def test_where_nothing_is_live_a_moved_robot_keeps_what_it_runs(world: FleetWorld) -> None:
    robot = await world.robot("kiwi-001")
    first = await world.release()
    await environment(world, "staging")
    generation = (await world.seen("kiwi-001")).generation
    await ask(world, "POST", "/api/robots/kiwi-001/move", {"environment": "staging"})
    seen = await world.seen("kiwi-001")
    assert (seen.desired, seen.generation, seen.waiting) == (None, generation + 1, ())
    assert robot.running is not None and robot.running.deployment == first


async def test_a_drained_robot_is_passed_by_until_it_is_let_back(world: FleetWorld) -> None:
    robot = await world.robot("kiwi-001")
    await world.robot("kiwi-002")
    first = await world.release()
    told = await ask(world, "POST", "/api/robots/kiwi-001/drain", {"reason": "arm is open"})
    assert (told["out"]["reason"], told["out"]["why"]) == ("drained", "arm is open")
    second = await world.release()
    assert robot.running is not None and robot.running.deployment == first
    rollout = (await world.detail(second)).rollout
    assert rollout is not None
    held = {one.robot: one for one in rollout.robots}["kiwi-001"]
    assert (held.status, type(held.waiting[0])) == (RobotStatus.HELD, Drained)
    why = await ask(world, "GET", "/api/robots/kiwi-001/why")
    assert why["reasons"][0]["text"] == "drained by owner (arm is open): it keeps what it runs"
    await ask(world, "POST", "/api/robots/kiwi-001/drain", {"reason": "again"})
    assert (await ask(world, "POST", "/api/robots/kiwi-001/undrain", {}))["out"] is None
    await runs(world, "kiwi-001", second)
    async with world.context.database.transaction() as tx:
        actions = [change.action for change in await audit.newest(tx, 20) if "drain" in change.action]
    assert actions == ["robot.undrain", "robot.drain"]


@pytest.mark.parametrize("how", ["drained", "unplaced"])
async def test_what_a_robot_was_given_and_has_not_taken_yet_is_withdrawn_when_it_leaves(
    world: FleetWorld, how: str
) -> None:
    await environment(world, "staging", select="site=lab")
    robot = await world.robot("kiwi-001", group="staging")
    first = await world.build()
    await world.finished(await world.roll_out(first, STAGING))
    robot.slow = True
    second = await world.build()
    await world.roll_out(second, STAGING)

    async def wants(deployment: DeploymentId | None) -> bool:
        return robot.desired is not None and (robot.desired.deployment and robot.desired.deployment.id) == deployment

    await world.until("it was asked", lambda: wants(second))
    if how == "drained":
        await ask(world, "POST", "/api/robots/kiwi-001/drain", {})
    else:
        await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": None}})
    await world.until("it was withdrawn", lambda: wants(None))
    seen = await world.seen("kiwi-001")
    assert (seen.desired, [type(one) for one in seen.waiting]) == (None, [Drained if how == "drained" else Unplaced])
    assert robot.running is not None and robot.running.deployment == first
    robot.slow = False
    if how == "drained":
        await ask(world, "POST", "/api/robots/kiwi-001/undrain", {})
    else:
        await ask(world, "PATCH", "/api/robots/kiwi-001", {"labels": {"site": "lab"}})
    await runs(world, "kiwi-001", second)


async def test_a_new_robot_gets_the_labels_of_the_group_or_the_environment_that_it_is_for(world: FleetWorld) -> None:
    await environment(world, "staging", groups=["staging-robots"])
    await environment(world, "lab", select="site=lab, hw!=v1")
    await ask(world, "PUT", "/api/projects/web/groups/staging-robots", {"selector": "stage=yes"})

    async def added(name: str, group: str, expect: int = 201, **labels: str) -> Any:
        return await ask(
            world, "POST", "/api/projects/web/robots", {"name": name, "group": group, "labels": labels}, expect
        )

    assert (await added("kiwi-001", "staging-robots"))["environment"] == "staging"
    assert (await added("kiwi-002", "staging"))["labels"] == {"stage": "yes"}
    assert (await added("kiwi-003", "lab", hw="v2"))["labels"] == {"hw": "v2", "site": "lab"}
    told = await added("kiwi-004", "lab", 400, hw="v1")
    assert told["message"] == "lab has the robots of site=lab, hw!=v1: give it labels that fit"
    assert (await added("kiwi-005", "field"))["environment"] == "field"
    told = await added("kiwi-006", "field", 400, site="lab")
    assert told["message"].startswith("the labels of kiwi-006 put it into lab")
    await environment(world, "more", groups=["staging-robots"])
    told = await added("kiwi-007", "staging-robots", 400)
    assert told["message"] == "robots of the group staging-robots may belong to more or staging: say which"
    await ask(world, "PUT", "/api/projects/web/groups/spare", {"selector": "spare"})
    told = await added("kiwi-008", "spare", 400)
    assert told["next"] == ["lekiwi environments create NAME --group spare"]


async def test_robots_that_were_added_to_a_group_before_an_environment_had_it_go_there_once_one_has(
    world: FleetWorld,
) -> None:
    for name in ("kiwi-001", "kiwi-002"):
        await world.robot(name, group="staging-robots")
    assert (await world.seen("kiwi-001")).environment == "staging-robots"
    await environment(world, "staging", groups=["staging-robots"])
    seen = await world.seen("kiwi-002")
    assert (seen.environment, seen.labels) == (STAGING, {"group": "staging-robots"})
    project = await ask(world, "GET", "/api/projects/web")
    assert [one["name"] for one in project["environments"]] == ["staging"]


async def test_an_environment_in_which_something_was_live_stays_although_a_group_has_its_name(
    world: FleetWorld,
) -> None:
    await world.robot("kiwi-001")
    await world.release()
    await environment(world, "staging", groups=["production"])
    assert (await world.seen("kiwi-001")).environment == "production"


async def test_two_changes_of_membership_at_once_come_after_each_other(world: FleetWorld) -> None:
    import asyncio

    await environment(world, "staging", select="site=lab")
    await environment(world, "qa", groups=["qa-robots"])
    for number in range(6):
        await world.robot(f"kiwi-{number:03}", online=False)
    asked = [
        ask(world, "PATCH", f"/api/robots/kiwi-{number:03}", {"labels": {"site": "lab", "round": str(turn)}})
        for turn in range(2)
        for number in range(6)
    ]
    asked.append(ask(world, "PUT", "/api/projects/web/groups/qa-robots", {"selector": "round"}))
    asked.append(ask(world, "PUT", "/api/projects/web/environments/staging/policy", {"set": {"select": "site=cellar"}}))
    await asyncio.gather(*asked)
    async with world.context.database.transaction() as tx:
        await membership.begin(tx, WEB)
        assert await membership.settle(tx, WEB) == {}
    assert {(await world.seen(f"kiwi-{number:03}")).environment for number in range(6)} <= {"qa", STAGING}
