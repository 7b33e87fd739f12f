"""What becomes of a rollout when something else happens meanwhile: another environment, a newer one, a way back, a person, robots that are off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from fleet_world import PRODUCTION, WEB, FleetWorld, fleet_world
from served_app import Asker
from simulated_robot import SimulatedRobot

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import policies
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, RolloutId
from lekiwi_deploy.wire.policy import Policy, RolloutStep

CANARY = Policy(steps=(RolloutStep(robots=1, soak_s=3600.0),))
STAGING = EnvironmentName("staging")


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def policy(world: FleetWorld, given: Policy, environment: EnvironmentName = PRODUCTION) -> None:
    async with world.context.database.transaction() as tx:
        await policies.write(tx, WEB, environment, "main", given)


def running(world: FleetWorld, deployment: DeploymentId) -> set[str]:
    return {one.name for one in world.robots if one.running is not None and one.running.deployment == deployment}


async def until(world: FleetWorld, what: str, true: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return true()

    await world.until(what, asked)


async def long_off(world: FleetWorld) -> SimulatedRobot:
    """The first robot, which went off an hour ago."""
    off = world.robots[0]
    await off.close()

    async def noticed() -> bool:
        return not (await world.seen(off.name)).online

    await world.until("that is noticed", noticed)
    async with world.context.database.transaction() as tx:
        sql = "UPDATE robots SET last_seen_at = last_seen_at - interval '1 hour' WHERE name = %s"
        await tx.execute(sql, (off.name,))
    return off


async def soaking(world: FleetWorld, deployment: DeploymentId) -> RolloutId:
    """A rollout of it, whose canary took it and soaks."""
    rollout = await world.roll_out(deployment)

    async def soaks() -> bool:
        course = (await world.rollout(rollout)).course
        return course is not None and course.waits == "soak"

    await world.until("its canary soaks", soaks)
    assert len(running(world, deployment)) == 1
    return rollout


async def test_two_environments_roll_out_at_once_and_one_that_fails_leaves_the_other_alone(world: FleetWorld) -> None:
    for number in range(6):
        await world.robot(group=PRODUCTION if number % 2 else STAGING)
    new = await world.build()
    for robot in world.robots[1::2]:
        robot.bad.add(new)
    good, bad = await world.roll_out(new, STAGING), await world.roll_out(new, PRODUCTION)
    assert (await world.finished(good)).status == RolloutStatus.DONE
    assert (await world.finished(bad)).status == RolloutStatus.FAILED
    assert running(world, new) == {robot.name for robot in world.robots[::2]}
    assert (await world.environment(STAGING)).live == new
    assert (await world.environment(PRODUCTION)).live is None


@pytest.mark.parametrize("paused", [False, True])
async def test_a_newer_deployment_takes_the_place_of_one_that_soaks_or_is_paused(
    world: FleetWorld, paused: bool
) -> None:
    for _ in range(3):
        await world.robot()
    await world.release()
    await policy(world, CANARY)
    older = await soaking(world, await world.build())
    if paused:
        assert (await world.owner.ask("POST", f"/api/rollouts/{older}/pause", {}))[0] == 200
    await policy(world, Policy())
    newest = await world.build()
    assert (await world.finished(await world.roll_out(newest))).status == RolloutStatus.DONE
    assert (await world.finished(older)).status == RolloutStatus.SUPERSEDED
    assert len(running(world, newest)) == 3


async def test_a_rollback_during_a_rollout_takes_back_the_robots_that_took_it_and_those_just_being_updated(
    world: FleetWorld,
) -> None:
    for _ in range(4):
        await world.robot()
    await world.release()
    before = await world.release()
    for robot in world.robots[2:]:
        robot.slow = True
    new = await world.build()
    rollout = await world.roll_out(new)
    await until(world, "two took it", lambda: len(running(world, new)) == 2)
    for robot in world.robots[2:]:
        await robot.until(lambda robot=robot: robot.desired is not None and robot.desired.deployment.id == new)
    status, _, body = await world.owner.ask(
        "POST", f"/api/projects/{WEB}/rollback", {"environment": PRODUCTION, "to": before}
    )
    assert status == 200, body
    for robot in world.robots[2:]:
        await robot.until(lambda robot=robot: robot.desired is not None and robot.desired.deployment.id == before)
        await robot.act()
    await until(world, "everybody runs what ran before", lambda: len(running(world, before)) == 4)
    assert (await world.finished(rollout)).status == RolloutStatus.SUPERSEDED


async def test_an_abort_during_a_soak_takes_the_canary_back_at_once(world: FleetWorld) -> None:
    for _ in range(3):
        await world.robot()
    before = await world.release()
    await policy(world, CANARY)
    rollout = await soaking(world, await world.build())
    assert (await world.owner.ask("POST", f"/api/rollouts/{rollout}/abort", {"reason": "smells"}))[0] == 200
    await until(world, "all run what ran before", lambda: len(running(world, before)) == 3)
    assert (await world.finished(rollout)).status == RolloutStatus.CANCELED


async def test_when_a_gate_trips_robots_that_are_off_or_at_it_turn_back_too(world: FleetWorld) -> None:
    for _ in range(5):
        await world.robot()
    before = await world.release()
    await policy(world, Policy(max_failures=0))
    new = await world.build()
    took, left, at_it, failing, _ = world.robots
    at_it.slow = failing.slow = True
    rollout = await world.roll_out(new)
    await until(world, "three took it", lambda: len(running(world, new)) == 3)
    await left.close()
    await failing.until(lambda: failing.desired is not None and failing.desired.deployment.id == new)  # type: ignore[union-attr]
    failing.bad.add(new)
    await failing.act()
    finished = await world.finished(rollout)
    assert "it failed on 1 of" in finished.text
    assert "1 that was being updated too" in finished.text
    at_it.slow = False
    await at_it.act()
    await until(
        world,
        "those that are there went back",
        lambda: len(running(world, before)) == 4 and took.name in running(world, before),
    )
    assert running(world, new) == {left.name}
    await left.welcomed()
    await until(world, "the one that was off went back on its return", lambda: left.name in running(world, before))


async def test_fewer_than_min_success_is_partial_and_done_once_enough_returned(world: FleetWorld) -> None:
    for _ in range(4):
        await world.robot()
    await world.release()
    await policy(world, Policy(min_success=100.0))
    await long_off(world)
    new = await world.build()
    rollout = await world.roll_out(new)
    finished = await world.finished(rollout)
    assert (finished.status, finished.text) == (RolloutStatus.PARTIAL, "3 of 4 robots confirmed it, 100 % wanted")
    await world.robots[0].welcomed()

    async def done() -> bool:
        return (await world.rollout(rollout)).status is RolloutStatus.DONE

    await world.until("it is done", done)


async def test_a_robot_that_was_off_when_it_began_is_left_out_and_gets_it_on_return(world: FleetWorld) -> None:
    for _ in range(2):
        await world.robot()
    await world.release()
    await policy(world, Policy(min_success=100.0, skip_offline=True))
    off = await long_off(world)
    new = await world.build()
    rollout = await world.roll_out(new)
    assert (await world.finished(rollout)).status == RolloutStatus.DONE
    (shown,) = [one for one in (await world.rollout(rollout)).robots if one.robot == off.name]
    assert shown.status is RobotStatus.PENDING
    assert "skipped" in str(shown.waiting).lower()
    await off.welcomed()
    await until(world, "it got it", lambda: off.name in running(world, new))
