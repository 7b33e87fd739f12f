"""Why robots do not run what is wanted, as the API tells it: a real database, links, the conductor; robots simulated at the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from fleet_world import PRODUCTION, WEB, FleetWorld, fleet_world
from served_app import Asker
from simulated_robot import SimulatedRobot

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, rollouts
from lekiwi_deploy.wire.api import Audit, RobotStatus, RolloutStatus
from lekiwi_deploy.wire.link import Event, EventRecord, EventRecords, Phase
from lekiwi_deploy.wire.reasons import Busy, ClockWrong, LowDisk, Offline, Overdue, Reason
from lekiwi_deploy.wire.why import RobotEvents, Why, Whys

pytestmark = pytest.mark.engine

AT = datetime(2026, 8, 21, 14, tzinfo=UTC)
TELEOP = Busy("anna", "teleop", AT, AT + timedelta(minutes=20), "h1")
DISK = LowDisk(100_000_000, 42_000_000)
CLOCK = ClockWrong(datetime(1970, 1, 1, tzinfo=UTC), "this release was made after that")


@pytest.fixture
async def world(context: Context, owner: Asker, api_url: str) -> AsyncIterator[FleetWorld]:
    async with fleet_world(context, owner, api_url) as made:
        yield made


async def says(robot: SimulatedRobot, *reasons: Reason) -> None:
    """The robot has fetched what is wanted and waits for these."""
    await robot.send(msgspec.structs.replace(robot.report(Phase.WAITING), waiting=reasons))


async def why(world: FleetWorld, robot: SimulatedRobot) -> Why:
    found: Why = await world.get(f"/api/robots/{robot.name}/why", Why)
    return found


async def waits_for(world: FleetWorld, robot: SimulatedRobot, *reasons: Reason) -> Why:
    """Wait until the API tells exactly these."""
    found: list[Why] = []

    async def told() -> bool:
        found.append(await why(world, robot))
        return tuple(one.reason for one in found[-1].reasons) == reasons

    await world.until(f"{robot.name} waits for {reasons}", told)
    return found[-1]


async def history(world: FleetWorld, action: str) -> list[Audit]:
    async with world.context.database.transaction() as tx:
        return [one for one in await audit.newest(tx, 100) if one.action == action]


async def held_off(world: FleetWorld, *reasons: Reason) -> tuple[SimulatedRobot, str]:
    """A robot that runs one release and holds the next one off."""
    robot = await world.robot()
    await world.release()
    robot.slow = True
    rollout = await world.roll_out(await world.build())
    await robot.until(lambda: robot.desired is not None and robot.desired.generation == 2)
    await says(robot, *reasons)
    await waits_for(world, robot, *reasons)
    return robot, rollout


async def test_a_robot_that_holds_off_is_pending_and_the_rollout_is_done_without_it(world: FleetWorld) -> None:
    robot, id = await held_off(world, TELEOP, DISK)
    finished = await world.finished(id)  # type: ignore[arg-type]
    assert (finished.status, finished.live, finished.pending) == (RolloutStatus.DONE, 0, 1)
    (one,) = (await world.rollout(id)).robots
    assert (one.status, one.waiting) == (RobotStatus.PENDING, (TELEOP, DISK))
    robot.slow = False
    await robot.act()

    async def counted() -> bool:
        return (await world.rollout(id)).counts.live == 1

    await world.until("it went on by itself", counted)
    assert (await why(world, robot)).there


async def test_reasons_come_in_the_robots_order_each_with_what_would_clear_it(world: FleetWorld) -> None:
    robot, _ = await held_off(world, TELEOP, DISK, CLOCK)
    told = await why(world, robot)
    assert not told.there and told.online and told.running != told.wanted
    assert [held.text.split(":")[0] for held in told.reasons] == [
        "teleop",
        "disk nearly full",
        "the clock says 1970-01-01 00",
    ]
    for held in told.reasons:
        assert robot.name in held.clears and f"lekiwi robots resume {robot.name} --force" in held.clears
        assert held.since is not None
    assert "lekiwi-agent release h1" in told.reasons[0].clears
    assert told.deferring_since is not None and told.overdue_since is None


async def test_since_when_is_the_servers_time_and_stays_while_the_figures_change(world: FleetWorld) -> None:
    robot, _ = await held_off(world, TELEOP, DISK)
    before = await why(world, robot)
    assert before.reasons[0].since is not None and before.reasons[0].since != TELEOP.since
    fuller = LowDisk(100_000_000, 12_000_000)
    await says(robot, fuller, CLOCK)
    after = await waits_for(world, robot, fuller, CLOCK)
    assert after.reasons[0].since == before.reasons[1].since
    assert after.reasons[1].since is not None and after.reasons[1].since > before.reasons[1].since  # type: ignore[operator]
    assert after.deferring_since == before.deferring_since


async def test_two_holds_are_both_told(world: FleetWorld) -> None:
    other = Busy("ben", "demo", AT, None, "h2")
    robot, _ = await held_off(world, TELEOP, other)
    assert [held.reason for held in (await why(world, robot)).reasons] == [TELEOP, other]
    shown = await world.seen(robot.name)
    assert shown.waiting == (TELEOP, other)


async def test_a_robot_that_holds_off_for_too_long_is_told_of_once_and_stays_pending(world: FleetWorld) -> None:
    robot, id = await held_off(world, TELEOP)
    async with world.context.database.transaction() as tx:
        await tx.execute("""UPDATE environments SET policy = '{"defer_limit_s": 1.5}' WHERE name = 'production'""")
    await says(robot, TELEOP, DISK)

    async def overdue() -> bool:
        return (await why(world, robot)).overdue_since is not None

    await world.until("it is overdue", overdue)
    told = await why(world, robot)
    assert isinstance(told.reasons[-1].reason, Overdue)
    assert [held.reason for held in told.reasons[:-1]] == [TELEOP, DISK]
    assert told.deferring_since is not None
    assert told.overdue_since == told.deferring_since + timedelta(seconds=1.5)
    await says(robot, TELEOP)
    await world.until("the newer reasons are told", lambda: _count(world, robot, 2))
    (noted,) = await history(world, "robot.overdue")
    assert noted.target.endswith(f"/{robot.name}")
    assert noted.detail["rollout"] == id and "teleop: held by anna" in str(noted.detail["why"])
    assert (await world.rollout(id)).status is RolloutStatus.DONE


async def _count(world: FleetWorld, robot: SimulatedRobot, count: int) -> bool:
    return len((await why(world, robot)).reasons) == count


async def test_a_robot_offline_is_told_as_it_last_was(world: FleetWorld) -> None:
    robot, _ = await held_off(world, TELEOP, DISK)
    await robot.close()

    async def gone() -> bool:
        return not (await why(world, robot)).online

    await world.until("its link is gone", gone)
    told = await why(world, robot)
    assert [type(held.reason) for held in told.reasons] == [Offline, Busy, LowDisk]
    assert told.last_seen_at is not None and told.phase is Phase.WAITING


async def test_force_on_one_robot_is_sent_to_it_and_what_it_went_over_is_in_the_history(
    world: FleetWorld, owner: Asker
) -> None:
    robot, _ = await held_off(world, TELEOP)
    status, _, _ = await owner.ask("POST", f"/api/robots/{robot.name}/resume?force=true")
    assert status == 200
    await robot.until(lambda: robot.desired is not None and robot.desired.force)
    assert robot.desired is not None and robot.desired.deployment is not None
    (resumed,) = await history(world, "robot.resume")
    assert resumed.detail == {"force": True}
    record = EventRecord(
        7,
        Event(
            at=datetime.now(UTC),
            kind="overridden",
            text="switched by force, although: teleop: held by anna",
            deployment=robot.desired.deployment.id,
        ),
    )
    await robot.send(EventRecords((record,)))
    await robot.until(lambda: robot.acked.get("events") == 7)  # type: ignore[call-overload]
    await robot.send(EventRecords((record,)))
    (noted,) = await history(world, "robot.overridden")
    assert noted.actor == resumed.actor
    assert "held by anna" in str(noted.detail["what"])


async def test_a_forced_rollout_is_sent_as_such(world: FleetWorld) -> None:
    robot, _ = await held_off(world, TELEOP)
    deployment = await world.build()
    from lekiwi_deploy.server.rollouts import start_rollout

    async with world.context.database.transaction() as tx:
        await start_rollout(
            tx,
            world.context,
            deployment_id=deployment,
            environment=PRODUCTION,
            kind="deploy",
            by="ben",
            reason="now",
            force=True,
        )
    await robot.until(lambda: robot.desired is not None and robot.desired.force)


async def test_events_of_a_robot_come_newest_first_in_pages(world: FleetWorld) -> None:
    robot = await world.robot()
    await robot.happen(1, *(f"event {number}" for number in range(1, 6)))
    await robot.until(lambda: robot.acked.get("events") == 5)  # type: ignore[call-overload]
    first: RobotEvents = await world.get(f"/api/robots/{robot.name}/events?limit=3", RobotEvents)
    assert [event.text for event in first.events] == ["event 5", "event 4", "event 3"]
    rest: RobotEvents = await world.get(f"/api/robots/{robot.name}/events?before={first.cursor}", RobotEvents)
    assert [event.text for event in rest.events] == ["event 2", "event 1"]
    assert rest.cursor is None
    assert all(event.told_at >= event.at - timedelta(minutes=1) for event in rest.events)
    assert [event.seq for event in (await why(world, robot)).events] == [5, 4, 3, 2, 1]


async def test_why_of_a_deployment_names_the_robots_that_do_not_run_it(world: FleetWorld) -> None:
    well = await world.robot()
    robot, id = await held_off(world, TELEOP)
    rollout = await world.rollout(id)

    async def one_is_live() -> bool:
        return (await world.rollout(id)).counts.live == 1

    await world.until("the other one runs it", one_is_live)
    for path in (
        f"/api/deployments/{rollout.deployment}/why",
        f"/api/rollouts/{id}/why",
        f"/api/projects/{WEB}/why",
        f"/api/projects/{WEB}/why?environment={PRODUCTION}",
    ):
        found: Whys = await world.get(path, Whys)
        assert [one.robot for one in found.robots] == [robot.name], path
        assert found.robots[0].reasons[0].reason == TELEOP
        assert found.total == 2, path
    assert well.running is not None


async def test_why_of_a_deployment_that_no_robot_was_asked_to_run_says_what_it_waits_for(world: FleetWorld) -> None:
    await world.robot()
    built = await world.build()
    found: Whys = await world.get(f"/api/deployments/{built}/why", Whys)
    assert (found.robots, found.text) == ((), "it is built; it goes live when its branch points at it")
    await world.owner.ask("POST", f"/api/projects/{WEB}/environments/{PRODUCTION}/freeze", {"reason": "demo"})
    found = await world.get(f"/api/deployments/{built}/why", Whys)
    assert "frozen" in found.text
    assert [held.clears for held in found.reasons] == ["lekiwi unfreeze -e production"]


async def test_why_of_a_replaced_deployment_names_what_took_its_place(world: FleetWorld) -> None:
    await world.robot()
    old, new = await world.release(), await world.release()
    found: Whys = await world.get(f"/api/deployments/{old}/why", Whys)
    assert found.robots == () and new in found.text


@pytest.mark.parametrize(
    "path", ["/api/robots/nobody/why", "/api/robots/nobody/events", "/api/deployments/dep_nothing0/why"]
)
async def test_what_there_is_not_is_not_found(world: FleetWorld, owner: Asker, path: str) -> None:
    status, _, body = await owner.ask("GET", path)
    assert (status, body["code"]) == (404, "not_found")


async def test_a_page_that_cannot_be_is_refused(world: FleetWorld, owner: Asker) -> None:
    robot: Any = await world.robot()
    for query in ("limit=0", "limit=501", "before=-1"):
        status, _, body = await owner.ask("GET", f"/api/robots/{robot.name}/events?{query}")
        assert (status, body["code"]) == (400, "bad_input")


async def test_a_later_rollout_goes_on_counting_how_long_a_robot_holds_off(world: FleetWorld) -> None:
    robot, _ = await held_off(world, TELEOP)
    before = (await why(world, robot)).deferring_since
    second = await world.roll_out(await world.build())
    await robot.until(lambda: robot.desired is not None and robot.desired.generation == 3)
    await says(robot, TELEOP)

    async def pending() -> bool:
        async with world.context.database.transaction() as tx:
            (one,) = await rollouts.robots(tx, second)
        return one.waiting == (TELEOP,)

    await world.until("the new rollout knows", pending)
    assert (await why(world, robot)).deferring_since == before
