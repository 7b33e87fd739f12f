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
    assert {robot.desired.deployment.id for robot in world.robots if robot.desired and robot.desired.deployment} == {
        deployment
    }


async def test_a_robot_that_is_off_is_pending_and_converges_when_it_returns(world: FleetWorld) -> None:
    here, away = await world.robot(), await world.robot()
    await away.close()
    await _long_ago(world, away.name)
    deployment = await world.release()
    rollout = await world.rollout((await world.detail(deployment)).deployment.rollout or "")
    assert (rollout.status, rollout.counts.live, rollout.counts.pending) == (RolloutStatus.DONE, 1, 1)
    (waits,) = [robot.waiting for robot in rollout.robots if robot.robot == away.name]
    assert isinstance(waits[0], Offline)
    assert here.running is not None
    await away.welcomed()
    assert away.running is not None
    assert away.running.deployment == deployment

    async def confirmed() -> bool:
        return (await world.rollout(rollout.id)).counts.live == 2

    await world.until("it is counted", confirmed)
    assert (await world.rollout(rollout.id)).status is RolloutStatus.DONE


async def test_a_robot_that_joins_later_gets_what_is_live(world: FleetWorld) -> None:
    await world.robot()
    deployment = await world.release()
    late = await world.robot()
    await late.until(lambda: late.running is not None and late.running.deployment == deployment)

    async def counted() -> bool:
        return (await world.detail(deployment)).deployment.robots.live == 2

    await world.until("it is counted", counted)


async def test_a_robot_whose_join_line_was_not_used_is_pending_and_says_so(world: FleetWorld) -> None:
    await world.robot()
    await world.owner.ask("POST", "/api/projects/web/robots", {"name": "kiwi-new", "group": "production"})
    deployment = await world.release()
    rollout = await world.rollout((await world.detail(deployment)).deployment.rollout or "")
    assert (rollout.counts.live, rollout.counts.pending, rollout.counts.total) == (1, 1, 2)
    assert [robot.waiting for robot in rollout.robots if robot.robot == "kiwi-new"] == [(NeverJoined(),)]


async def test_what_every_robot_rolled_back_stops_being_live_and_late_joiners_do_not_get_it(world: FleetWorld) -> None:
    for _ in range(2):
        await world.robot()
    good = await world.release()
    bad = await world.build()
    for robot in world.robots:
        robot.bad.add(bad)
    verdict = await world.finished(await world.roll_out(bad))
    assert (verdict.status, verdict.live, verdict.failed) == (RolloutStatus.ROLLED_BACK, 0, 2)
    assert good in verdict.text

    async def back() -> bool:
        return (await world.environment()).live == good and (await world.detail(good)).deployment.robots.live == 2

    await world.until("the environment wants the good one again", back)
    assert (await world.detail(bad)).deployment.status is DeploymentStatus.ROLLED_BACK
    assert (await world.detail(good)).deployment.status is DeploymentStatus.LIVE
    assert (await world.environment()).freeze is None
    outcome = (await world.seen(world.robots[0].name)).outcome
    assert outcome is not None
    assert (outcome.deployment, outcome.result, outcome.log) == (bad, "rolled_back", ("Traceback: boom",))
    late = await world.robot()
    await late.until(lambda: late.running is not None)
    assert late.running is not None
    assert late.running.deployment == good


async def test_a_first_deployment_that_fails_everywhere_leaves_nothing_live(world: FleetWorld) -> None:
    robot = await world.robot()
    bad = await world.build()
    robot.bad.add(bad)
    verdict = await world.finished(await world.roll_out(bad))
    assert verdict.status == RolloutStatus.FAILED

    async def gone() -> bool:
        return (await world.environment()).live is None

    await world.until("nothing is live", gone)
    assert (await world.detail(bad)).deployment.status is DeploymentStatus.FAILED
    late = await world.robot()
    assert late.desired is not None
    assert late.desired.deployment is None


async def test_what_only_some_took_stays_live_and_is_partial(world: FleetWorld) -> None:
    first, second = await world.robot(), await world.robot()
    await world.release()
    two = await world.build()
    second.bad.add(two)
    rollout = await world.roll_out(two)
    verdict = await world.finished(rollout)
    assert (verdict.status, verdict.live, verdict.failed) == (RolloutStatus.PARTIAL, 1, 1)
    assert (await world.environment()).live == two
    assert (await world.detail(two)).deployment.status is DeploymentStatus.PARTIAL
    (told,) = [
        entry.body
        for entry in await world.story(rollout)
        if isinstance(entry.body, RobotMoved) and entry.body.status == RobotStatus.ROLLED_BACK
    ]
    assert (told.robot, told.why, told.log) == (second.name, "web did not become healthy", ("Traceback: boom",))
    assert first.running is not None
    assert first.running.deployment == two


async def test_a_deployment_that_fails_its_trial_on_every_robot_after_it_was_live_goes_back_too(
    world: FleetWorld,
) -> None:
    robot = await world.robot()
    good = await world.release()
    await robot.prove()
    ill = await world.release()
    assert (await world.environment()).live == ill
    await robot.fall_back()

    async def back() -> bool:
        return (await world.environment()).live == good

    await world.until("the environment wants the good one again", back)
    assert (await world.detail(ill)).deployment.status is DeploymentStatus.ROLLED_BACK


async def test_a_newer_deployment_replaces_a_rollout_that_is_under_way(world: FleetWorld) -> None:
    robot = await world.robot()
    robot.slow = True
    one = await world.roll_out(await world.build())
    two = await world.build()
    second = await world.roll_out(two)
    assert (await world.finished(one)).status == RolloutStatus.SUPERSEDED
    await robot.until(
        lambda: (
            robot.desired is not None and robot.desired.deployment is not None and robot.desired.deployment.id == two
        )
    )
    await robot.act()
    assert (await world.finished(second)).status == RolloutStatus.DONE


async def test_starting_the_same_deployments_rollout_again_gives_the_same_rollout(world: FleetWorld) -> None:
    await world.robot()
    deployment = await world.build()
    assert await world.roll_out(deployment) == await world.roll_out(deployment)


async def test_a_release_for_other_platforms_is_held_on_robots_that_it_does_not_fit(world: FleetWorld) -> None:
    await world.robot()
    verdict = await world.finished(
        await world.roll_out(await world.build(platforms=("linux-aarch64-glibc2.36-py3.11",)))
    )
    assert (verdict.status, verdict.failed) == (RolloutStatus.FAILED, 1)
    robot = await world.seen("kiwi-001")
    assert robot.running is None


async def test_a_conductor_that_starts_again_finishes_what_was_begun(world: FleetWorld) -> None:
    robot = await world.robot()
    robot.slow = True
    rollout = await world.roll_out(await world.build())
    await robot.until(lambda: robot.desired is not None and robot.desired.deployment is not None)
    await robot.close()
    robot.slow = False
    await robot.welcomed()
    assert (await world.finished(rollout)).status == RolloutStatus.DONE


async def test_after_a_restore_from_a_backup_robots_that_know_more_still_take_orders(world: FleetWorld) -> None:
    robot = await world.robot()
    await world.release()
    await robot.close()
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE robots SET generation = generation - 1, report = NULL")
        await tx.execute(
            "UPDATE rollout_robots SET generation = generation - 1, status = 'assigned', confirmed_at = NULL"
        )
        await tx.execute("UPDATE rollouts SET status = 'rolling', finished_at = NULL")
    await robot.welcomed()
    two = await world.release()
    assert robot.running is not None
    assert robot.running.deployment == two


async def _long_ago(world: FleetWorld, robot: str) -> None:
    """The robot's link is over, and it was last seen a week ago."""

    async def offline() -> bool:
        return not (await world.seen(robot)).online

    await world.until("the link is over", offline)
    async with world.context.database.transaction() as tx:
        await tx.execute("UPDATE robots SET last_seen_at = last_seen_at - interval '7 days' WHERE name = %s", (robot,))
