"""Rollouts in steps, with simulated robots on real links: canaries, soaks, approval, what stops them and what is taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fleet_world import PRODUCTION, WEB, FleetWorld, fleet_world
from served_app import Asker

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import policies
from lekiwi_deploy.wire.api import RobotStatus, RolloutStatus
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.policy import Policy, RolloutStep, Undo
from lekiwi_deploy.wire.reasons import Halted, LaterStep, RolloutPaused


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def policy(world: FleetWorld, given: Policy) -> None:
    async with world.context.database.transaction() as tx:
        await policies.write(tx, WEB, PRODUCTION, "main", given)


async def running(world: FleetWorld, deployment: DeploymentId) -> list[str]:
    return [
        robot.name for robot in world.robots if robot.running is not None and robot.running.deployment == deployment
    ]


async def steer(world: FleetWorld, rollout: str, act: str, **body: object) -> int:
    status, _, _ = await world.owner.ask("POST", f"/api/rollouts/{rollout}/{act}", body)
    return status


async def fleet(world: FleetWorld, size: int, given: Policy) -> DeploymentId:
    for _ in range(size):
        await world.robot()
    before = await world.release()
    await policy(world, given)
    return before


async def test_an_approval_step_waits_after_the_canary_and_then_everybody_gets_it(world: FleetWorld) -> None:
    await fleet(world, 4, Policy(steps=(RolloutStep(robots=1), RolloutStep(approval=True))))
    new = await world.build()
    rollout = await world.roll_out(new)

    async def waits() -> bool:
        course = (await world.rollout(rollout)).course
        return course is not None and course.waits == "approval"

    await world.until("the canary is healthy and a person is waited for", waits)
    seen = await world.rollout(rollout)
    assert (len(await running(world, new)), seen.counts.live, seen.status) == (1, 1, RolloutStatus.ROLLING)
    told = {reason for robot in seen.robots for reason in robot.waiting}
    assert told == {LaterStep(rollout=rollout, step=2, of=2, what="approval")}
    assert await steer(world, rollout, "approve", reason="looks well") == 200
    assert (await world.finished(rollout)).status == RolloutStatus.DONE
    assert len(await running(world, new)) == 4
    assert await steer(world, rollout, "approve") == 409


async def test_a_canary_that_fails_stops_it_and_nobody_else_ever_gets_it(world: FleetWorld) -> None:
    before = await fleet(world, 4, Policy(steps=(RolloutStep(robots=1),)))
    bad = await world.build()
    for robot in world.robots:
        robot.bad.add(bad)
    finished = await world.finished(await world.roll_out(bad))
    assert (finished.status, finished.live, finished.failed) == (RolloutStatus.ROLLED_BACK, 0, 1)

    async def back() -> bool:
        return (await world.environment()).live == before

    await world.until("what ran before is live again", back)
    assert await running(world, bad) == []
    status, _, body = await world.owner.ask(
        "POST", f"/api/projects/{WEB}/rollback", {"environment": PRODUCTION, "to": bad}
    )
    assert status == 409 or body["code"] == "blocked", body


async def test_what_fails_on_too_many_is_taken_back_from_those_that_took_it(world: FleetWorld) -> None:
    before = await fleet(world, 8, Policy(steps=(RolloutStep(robots=4),), max_failures=1))
    bad = await world.build()
    for robot in world.robots[::2]:
        robot.bad.add(bad)
    rollout = await world.roll_out(bad)
    finished = await world.finished(rollout)
    assert finished.failed >= 1 and finished.status in (RolloutStatus.PARTIAL, RolloutStatus.ROLLED_BACK)

    async def back() -> bool:
        return len(await running(world, before)) == 8 and (await world.environment()).live == before

    await world.until("every robot runs what it ran before", back)
    halted = [
        robot
        for robot in (await world.rollout(rollout)).robots
        if any(isinstance(one, Halted) for one in robot.waiting)
    ]
    assert len(halted) == 4


async def test_only_the_step_that_failed_is_taken_back_where_the_policy_says_wave(world: FleetWorld) -> None:
    before = await fleet(
        world, 6, Policy(steps=(RolloutStep(robots=2), RolloutStep(approval=True)), max_failures=0, undo=Undo.WAVE)
    )
    bad = await world.build()
    rollout = await world.roll_out(bad)

    async def waits() -> bool:
        course = (await world.rollout(rollout)).course
        return course is not None and course.waits == "approval"

    await world.until("two canaries are healthy", waits)
    first = set(await running(world, bad))
    for robot in world.robots:
        robot.bad.add(bad)
    await steer(world, rollout, "approve")
    assert (await world.finished(rollout)).failed >= 1

    async def back() -> bool:
        return len(await running(world, before)) == 4 and (await world.environment()).live == before

    await world.until("the others run what they ran before", back)
    assert set(await running(world, bad)) == first


async def test_a_paused_rollout_asks_nobody_and_says_who_paused_it(world: FleetWorld) -> None:
    await fleet(world, 3, Policy(in_flight=1))
    new = await world.build()
    for robot in world.robots:
        robot.slow = True
    rollout = await world.roll_out(new)

    async def asked() -> bool:
        return any(robot.status is not RobotStatus.PENDING for robot in (await world.rollout(rollout)).robots)

    await world.until("one is asked", asked)
    assert await steer(world, rollout, "pause", reason="lunch") == 200
    assert await steer(world, rollout, "pause") == 409

    async def told() -> bool:
        reasons = [reason for robot in (await world.rollout(rollout)).robots for reason in robot.waiting]
        return sum(isinstance(reason, RolloutPaused) for reason in reasons) == 2

    await world.until("the others are told", told)
    for robot in world.robots:
        robot.slow = False
        await robot.act()
    assert await steer(world, rollout, "resume") == 200
    assert (await world.finished(rollout)).status == RolloutStatus.DONE


async def test_an_aborted_rollout_takes_back_what_it_brought(world: FleetWorld) -> None:
    before = await fleet(world, 3, Policy(steps=(RolloutStep(robots=1), RolloutStep(approval=True))))
    new = await world.build()
    rollout = await world.roll_out(new)

    async def waits() -> bool:
        course = (await world.rollout(rollout)).course
        return course is not None and course.waits == "approval"

    await world.until("the canary is healthy", waits)
    assert await steer(world, rollout, "abort", reason="wrong branch") == 200
    finished = await world.finished(rollout)
    assert (finished.status, finished.text) == (
        RolloutStatus.CANCELED,
        f"aborted by owner: wrong branch; {before} is live again",
    )

    async def back() -> bool:
        return len(await running(world, before)) == 3

    await world.until("the canary runs what it ran before", back)


async def test_complete_asks_everybody_and_skip_goes_on_without_the_soak(world: FleetWorld) -> None:
    await fleet(world, 4, Policy(steps=(RolloutStep(robots=1, soak_s=600), RolloutStep(robots=2, soak_s=600))))
    rollout = await world.roll_out(await world.build())

    async def soaks() -> bool:
        seen = await world.rollout(rollout)
        return seen.course is not None and seen.course.waits == "soak" and seen.counts.live == seen.course.at

    await world.until("the canary soaks", soaks)
    assert await steer(world, rollout, "skip") == 200
    await world.until("the second step soaks", soaks)
    assert await steer(world, rollout, "complete") == 200
    assert (await world.finished(rollout)).live == 4
