"""What held a robot back is still told when it is over: by the robot, and by the deployment that it held back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker
from simulated_robot import SimulatedRobot

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import waits
from lekiwi_deploy.wire.link import Phase
from lekiwi_deploy.wire.reasons import Busy, LowDisk, Reason
from lekiwi_deploy.wire.why import Why, Whys

pytestmark = pytest.mark.engine
TELEOP = Busy("anna", "teleop", datetime(2026, 11, 23, 12, 0, tzinfo=UTC), None, "h1")
DISK = LowDisk(100_000_000, 40_000_000)


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def why(world: FleetWorld, robot: str, query: str = "") -> Why:
    found: Why = await world.get(f"/api/robots/{robot}/why{query}", Why)
    return found


async def says(world: FleetWorld, robot: SimulatedRobot, *reasons: Reason) -> None:
    await robot.send(msgspec.structs.replace(robot.report(Phase.WAITING), waiting=reasons))

    async def shown() -> bool:
        return tuple(held.reason for held in (await why(world, robot.name)).reasons) == reasons

    await world.until("the robot's reasons are shown", shown)


async def test_what_held_a_robot_back_is_told_when_it_is_over(world: FleetWorld) -> None:
    robot = await world.robot()
    await world.release()
    robot.slow = True
    deployment = await world.build()
    rollout = await world.roll_out(deployment)
    await robot.until(lambda: robot.desired is not None and robot.desired.generation == 2)
    await says(world, robot, TELEOP, DISK)
    assert (await why(world, robot.name)).past == ()
    await says(world, robot, DISK)
    async with world.context.database.transaction() as tx:  # nobody asks for what lasted less than a moment
        await tx.execute("UPDATE waits SET since = since - interval '7 minutes'")
    (past,) = (await why(world, robot.name)).past
    assert (past.reason, past.robots) == (TELEOP, 1)
    assert past.until is not None and past.until - past.since >= timedelta(minutes=7)
    robot.slow = False
    await robot.act()

    async def over() -> bool:
        return len((await why(world, robot.name, "?past=1h")).past) == 2

    await world.until("both are over", over)
    told: Whys = await world.get(f"/api/deployments/{deployment}/why", Whys)
    assert {one.reason for one in told.past} == {TELEOP, DISK}
    assert (await world.get(f"/api/rollouts/{rollout}/why", Whys)).past == told.past


async def test_spans_that_ended_long_ago_are_forgotten(world: FleetWorld) -> None:
    robot = await world.robot()
    async with world.context.database.transaction() as tx:
        for key, until in (("busy h1", "now() - interval '91 days'"), ("low_disk", "now()"), ("offline", "NULL")):
            await tx.execute(
                f"INSERT INTO waits (robot, key, reason, since, until) VALUES (%s, %s, %s, now() - interval '92 days', {until})",
                (robot.name, key, '{"reason": "never_joined"}'),
            )
        assert await waits.forget_old(tx, world.context.now() - timedelta(days=90)) == 1
        assert [one.key for one in await waits.of_robot(tx, robot.name, 9)] == ["low_disk"]
