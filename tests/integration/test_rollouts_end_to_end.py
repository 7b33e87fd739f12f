"""Rollouts on a real database, over real WebSockets, with robots that are simulated at the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fleet_world import FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.wire.api import DeploymentStatus, RobotStatus, RolloutStatus
from lekiwi_deploy.wire.progress import RobotMoved, RolloutFinished, RolloutStarted
from lekiwi_deploy.wire.reasons import NeverJoined, Offline

pytestmark = pytest.mark.engine


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def test_a_rollout_reaches_every_robot_and_tells_the_whole_story(world: FleetWorld) -> None:
    for _ in range(3):
        await world.robot()
    deployment = await world.build()
    rollout = await world.roll_out(deployment)
    story = [entry.body for entry in await world.story(deployment)]
    assert isinstance(story[0], RolloutStarted)
    assert (story[0].rollout, story[0].total) == (rollout, 3)
    healthy = {body.robot for body in story if isinstance(body, RobotMoved) and body.status == RobotStatus.HEALTHY}
    assert healthy == {robot.name for robot in world.robots}
    last = story[-1]
    assert isinstance(last, RolloutFinished)
    assert (last.status, last.live, last.total, last.undo) == (RolloutStatus.DONE, 3, 3, "")
    detail = await world.detail(deployment)
    assert detail.deployment.status is DeploymentStatus.LIVE
    assert detail.deployment.active
    assert {robot.desired.deployment.id for robot in world.robots if robot.desired and robot.desired.deployment} == {deployment}
