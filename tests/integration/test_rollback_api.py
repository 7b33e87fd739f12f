"""Going back over HTTP: environments, single robots, freezes, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker
from simulated_robot import SimulatedRobot

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.wire.api import DeploymentStatus, RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.rollback import Resolution, RollbackAnswer

pytestmark = pytest.mark.engine


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        for _ in range(2):
            await made.robot()
        yield made


async def back(world: FleetWorld, **asked: Any) -> RollbackAnswer:
    """A rollback that is granted."""
    status, _, body = await world.owner.ask("POST", "/api/projects/web/rollback", asked)
    assert status == 200, body
    return msgspec.convert(body, RollbackAnswer)


def runs(robot: SimulatedRobot) -> DeploymentId | None:
    return robot.running.deployment if robot.running else None


async def test_a_rollback_brings_the_last_good_one_back_and_freezes(world: FleetWorld) -> None:
    one = await world.release()
    two = await world.release()
    answer = await back(world, reason="it smokes")
    assert (answer.resolution.deployment.id, answer.changed, answer.frozen) == (one, True, True)
    assert answer.undo.startswith("lekiwi undo ")
    assert answer.resolution.text.startswith(f"previous -> {one} v0.1.0 (")
    assert (await world.finished(answer.rollout or "")).status == RolloutStatus.DONE  # type: ignore[arg-type]
    assert {runs(robot) for robot in world.robots} == {one}
    environment = await world.environment()
    assert environment.live == one
    assert environment.freeze is not None
    assert environment.freeze.why == f"rolled back to {one}: it smokes"
    assert (await world.detail(two)).deployment.status is DeploymentStatus.REPLACED
    assert (await world.detail(one)).deployment.status is DeploymentStatus.LIVE
    [newest, *_] = (await world.owner.ask("GET", "/api/projects/web/activity"))[2]
    assert (newest["action"], newest["actor"], newest["detail"]["reason"]) == (
        "environment.rollback",
        "owner",
        "it smokes",
    )


async def test_going_back_to_what_is_live_changes_nothing(world: FleetWorld) -> None:
    one = await world.release()
    answer = await back(world, to=one)
    assert (answer.changed, answer.rollout, answer.frozen, answer.undo) == (False, None, False, "")
    assert (await world.environment()).freeze is None


async def test_a_dry_run_only_says_what_would_happen(world: FleetWorld) -> None:
    one = await world.release()
    two = await world.release()
    answer = await back(world, dry_run=True)
    assert (answer.resolution.deployment.id, answer.rollout, answer.changed) == (one, None, True)
    assert (await world.environment()).live == two


async def test_selectors_resolve_without_doing_anything(world: FleetWorld) -> None:
    one = await world.release(version="v2.2.9", commit="abc123" + "0" * 34)
    await world.release()
    for selector in ("v2.2.9", "2.2.9", "tag:v2.2.9", "commit:abc123", "abc1230", one[:9], "@-1", "previous"):
        found: Resolution = await world.get(f"/api/projects/web/resolve?selector={selector}", Resolution)
        assert found.deployment.id == one, selector
    status, _, told = await world.owner.ask("GET", "/api/projects/web/resolve?selector=v9.9.9")
    assert (status, told["code"]) == (404, "not_found")
    status, _, told = await world.owner.ask("GET", "/api/projects/web/resolve?selector=commit:zz")
    assert (status, told["code"]) == (400, "bad_input")


async def test_what_may_mean_several_deployments_lists_them(world: FleetWorld) -> None:
    one = await world.release(version="v1.0.0")
    two = await world.release(version="v1.0.0")
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {"to": "v1.0.0"})
    assert (status, told["code"], told["details"]["candidates"]) == (409, "ambiguous", [two, one])


async def test_one_robot_is_taken_back_and_pinned_until_it_is_resumed(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    taken, other = world.robots
    answer = await back(world, robot=taken.name)
    assert (answer.robots, answer.frozen, answer.undo) == ((taken.name,), False, f"lekiwi robots resume {taken.name}")
    assert (await world.finished(answer.rollout or "")).status == RolloutStatus.DONE  # type: ignore[arg-type]
    assert (runs(taken), runs(other)) == (one, two)
    assert taken.desired is not None
    assert taken.desired.by_hand
    assert (await world.environment()).live == two
    live = (await world.detail(two)).rollout
    assert live is not None

    async def held() -> bool:
        robots = {robot.robot: robot.status for robot in (await world.rollout(live.id)).robots}
        return robots[taken.name] is RobotStatus.HELD

    await world.until("the environment's rollout says that it is held", held)
    seen = await world.seen(taken.name)
    assert seen.pin is not None
    assert seen.pin.deployment == one
    status, _, _ = await world.owner.ask("POST", f"/api/robots/{taken.name}/resume")
    assert status == 200
    await taken.until(lambda: runs(taken) == two)

    async def counted() -> bool:
        return (await world.rollout(live.id)).counts.live == 2

    await world.until("it counts again", counted)


async def test_a_pinned_robot_moves_with_a_deployment_made_later_but_not_with_a_rollback(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    taken, other = world.robots
    answer = await back(world, robot=taken.name)
    await world.finished(answer.rollout or "")  # type: ignore[arg-type]
    three = await world.release()
    assert (runs(taken), runs(other)) == (three, three)
    await back(world, robot=taken.name, to=one)
    await taken.until(lambda: runs(taken) == one)
    answer = await back(world, to=two)
    verdict = await world.finished(answer.rollout or "")  # type: ignore[arg-type]
    assert (verdict.status, verdict.live, verdict.pending) == (RolloutStatus.DONE, 1, 1)
    assert (runs(taken), runs(other)) == (one, two)


async def test_what_failed_on_every_robot_is_blocked_unless_forced(world: FleetWorld) -> None:
    await world.release()
    bad = await world.build()
    for robot in world.robots:
        robot.bad.add(bad)
    await world.finished(await world.roll_out(bad))
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {"to": bad})
    assert (status, told["code"]) == (423, "blocked")
    assert "--force" in told["next"][0]
    for robot in world.robots:
        robot.bad.clear()
    answer = await back(world, to=bad, force=True)
    assert (await world.finished(answer.rollout or "")).status == RolloutStatus.DONE  # type: ignore[arg-type]
    assert {runs(robot) for robot in world.robots} == {bad}


async def test_going_back_twice_goes_further_back(world: FleetWorld) -> None:
    one, two = await world.release(), await world.release()
    await world.release()
    assert (await back(world)).resolution.deployment.id == two
    assert (await back(world)).resolution.deployment.id == one
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {})
    assert (status, told["code"]) == (404, "not_found")


async def test_an_environment_must_be_named_when_several_have_robots(world: FleetWorld) -> None:
    await world.robot("kiwi-staging", group="staging")
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {})
    assert (status, told["code"]) == (400, "bad_input")
    assert told["next"] == ["lekiwi rollback -e production", "lekiwi rollback -e staging"]
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {"environment": "nowhere"})
    assert (status, told["code"]) == (404, "not_found")
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {"robot": "nobody"})
    assert (status, told["code"]) == (404, "not_found")


async def test_a_gradual_rollback_goes_through_the_steps(world: FleetWorld) -> None:
    one = await world.release()
    await world.release()
    body = {"set": {"rollout": "[{robots: 1}, {approval: true}]"}}
    status, _, _ = await world.owner.ask("PUT", "/api/projects/web/environments/production/policy", body)
    assert status == 200
    answer = await back(world, gradual=True)

    async def waits() -> bool:
        course = (await world.rollout(answer.rollout or "")).course
        return course is not None and course.waits == "approval"

    await world.until("the second step waits for a person", waits)
    assert sorted(runs(robot) == one for robot in world.robots) == [False, True]
    status, _, told = await world.owner.ask("POST", "/api/projects/web/rollback", {"robot": "x", "gradual": True})
    assert (status, told["code"]) == (400, "bad_input")


async def test_robots_that_run_the_content_already_are_counted(world: FleetWorld) -> None:
    one = await world.release()
    await world.release()
    assert (await back(world, dry_run=True)).there == 0
    robot = await back(world, robot=world.robots[0].name)
    await world.finished(robot.rollout or "")  # type: ignore[arg-type]
    assert (await back(world, to=one)).there == 1
