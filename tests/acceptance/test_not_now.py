"""A robot that is busy, full and in the wrong year: it says so, in order, and everybody who asks is told what would help."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance_world import WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.testing.wrong_clock import WrongClock
from lekiwi_deploy.wire.api import Deployment, DeploymentStatus
from lekiwi_deploy.wire.reasons import Busy, ClockWrong, LowDisk
from lekiwi_deploy.wire.why import RobotEvents, Why, Whys

Worlds = Callable[[int], World]
FULL = YAML + "conditions: {disk_free: 100000GB, clock: true}\n"


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path / "clock")


@pytest.fixture
def world(world_with: Worlds, clock: WrongClock) -> Iterator[World]:
    """One robot, whose clock can be set."""
    world = world_with(0)
    world.add_robot(start=False).start(**clock.variables)
    world.all_online()
    yield world


def why(world: World) -> Why:
    found: Why = world.lekiwi("why", world.robots[0].name, "--json").ok().json(Why)
    return found


def kinds(found: Why) -> list[type]:
    return [type(held.reason) for held in found.reasons]


def waits_for(world: World, *reasons: type) -> Why:
    def there() -> Why | None:
        found = why(world)
        return found if kinds(found) == list(reasons) else None

    return eventually(f"it waits for {reasons}", there)


def activity(world: World) -> str:
    return world.lekiwi("activity").ok().said


def push(world: World, greeting: str, yaml: str = YAML) -> Deployment:
    world.code.commit(f"Say {greeting}", app(greeting, **{"lekiwi.yaml": yaml}))
    world.push().ok()
    return world.newest()


def test_why_names_the_hold_the_disk_and_the_clock_in_order_each_with_what_would_clear_it(
    world: World, clock: WrongClock
) -> None:
    robot = world.robots[0]
    one = world.release("one")
    clock.set(-round(time.time()))  # 1970
    robot.command("hold", "--reason", "teleop", "--for", "20m", "--owner", "anna").ok()
    world.code.commit("Say two", app("two", **{"lekiwi.yaml": FULL}))
    pushed = world.push().ok()
    assert "Pending" in pushed.err and "teleop: held by anna" in pushed.err, pushed.err
    assert f"lekiwi why {robot.name}" in pushed.err
    two = world.newest()

    told = waits_for(world, Busy, LowDisk, ClockWrong)
    assert (told.running, told.wanted) == (one.id, two.id)
    clears = [held.clears for held in told.reasons]
    assert clears[0].startswith(f"lekiwi-agent release h1 on {robot.name}, or wait until ")
    assert clears[1].startswith("free ") and robot.name in clears[1]
    assert clears[2].startswith(f"set the clock of {robot.name}")
    assert all(f"lekiwi robots resume {robot.name} --force" in each for each in clears)
    assert all(held.since is not None for held in told.reasons)
    said = world.lekiwi("why", robot.name).ok().said
    places = [
        said.index(text) for text in ("1. teleop: held by anna until", "2. disk nearly full", "3. the clock says 1970-")
    ]
    assert places == sorted(places), said

    robot.serves("one", port=WEB_PORT)
    assert robot.current() == one.id
    assert (robot.root / "opt/lekiwi/deployments" / two.id / "code/greeting.txt").read_text() == "two", "it is staged"
    assert "teleop: held by anna" in world.lekiwi("status").ok().said
    assert "teleop: held by anna" in world.lekiwi("inspect", two.id, "--robots").ok().said
    local = robot.command("why").ok().said
    assert [line[:2] for line in local.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."], local

    robot.command("release", "h1").ok()
    clock.set(0)
    waits_for(world, LowDisk)
    assert robot.current() == one.id

    world.lekiwi("robots", "resume", robot.name, "--force").ok()
    world.all_run(two, "two")
    eventually(
        "what force went over is in the history", lambda: "is switched to by force, although: " in activity(world)
    )
    assert "disk nearly full" in activity(world)
    assert why(world).there


def test_a_hold_that_ends_lets_the_robot_go_on_and_the_deployment_is_live(world: World) -> None:
    robot = world.robots[0]
    world.release("one")
    robot.command("hold", "--reason", "demo", "--for", "20m").ok()
    two = push(world, "two")
    waits_for(world, Busy)
    (listed,) = world.lekiwi("why", "--json").ok().json(Whys).robots
    assert listed.robot == robot.name
    (named,) = world.lekiwi("why", two.id, "--json").ok().json(Whys).robots
    assert named.robot == robot.name
    robot.command("release", "--all").ok()
    world.all_run(two, "two")
    assert "runs what is wanted" in world.lekiwi("why", robot.name).ok().said
    eventually("it is counted", lambda: world.newest().robots.live == 1)
    assert world.newest().status is DeploymentStatus.LIVE
    story = world.lekiwi("robots", "events", robot.name, "--json").ok().json(RobotEvents)
    happened = [event.kind for event in story.events]
    assert happened.index("released") < happened.index("held"), "newest first"


def test_a_rollback_by_the_server_waits_for_the_hold_unless_forced(world: World) -> None:
    robot = world.robots[0]
    one = world.release("one")
    world.release("two")
    robot.command("hold", "--reason", "teleop", "--for", "20m", "--owner", "anna").ok()
    back = world.lekiwi("rollback", "--to", one.id).ok()
    assert "Nothing is switched yet" in back.said and "held by anna" in back.said, back.said
    robot.serves("two", port=WEB_PORT)
    world.lekiwi("robots", "resume", robot.name, "--force").ok()
    world.all_run(one, "one")


def test_a_deployment_with_force_goes_over_a_hold_at_once(world: World) -> None:
    robot = world.robots[0]
    world.release("one")
    robot.command("hold", "--reason", "teleop", "--for", "20m", "--owner", "anna").ok()
    world.code.commit("Say two", app("two"))
    deployed = world.lekiwi("deploy", "--force").ok()
    assert "Deployed successfully" in deployed.said, deployed.said
    robot.serves("two", port=WEB_PORT)
    eventually("it is in the history", lambda: "held by anna" in activity(world))


def test_why_of_what_there_is_not(world: World) -> None:
    assert world.lekiwi("why", "nobody").code == 4
    assert world.lekiwi("why", "dep_nothing0").code == 4
    assert world.lekiwi("why", "rol_nothing0").code == 4
