"""How many robots switch at the same moment, seen on the robots and not in the server's rows."""

from __future__ import annotations

from lekiwi_deploy.fleet.window_text import parse_opening
from lekiwi_deploy.testing.simulation.releases import Release
from lekiwi_deploy.testing.simulation.world import World
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.windows import Windows

ROBOTS, LIMIT = 8, 2


def fleet(policy: Policy) -> World:
    """Robots on which v1 is good, and this policy from then on."""
    world = World("limits")
    world.environment("production", Policy(health_checks="normal"))
    for number in range(ROBOTS):
        world.add(f"kiwi-{number}", "production")
    world.roll_out(world.release("v1", base_failures=0.0), "production")
    world.run(600.0)
    world.environment("production", policy)
    return world


def most_at_once(world: World, release: Release, seconds: float) -> int:
    """The largest number of robots that run `release` and are not healthy with it yet, looked at every half second."""
    most = 0
    for _ in range(int(2 * seconds)):
        world.run(0.5)
        trials = [member.robot.ledger.trial for member in world.members.values()]
        starting = [one for one in trials if one is not None and one.deployment == release.id and not one.told]
        most = max(most, len(starting))
    return most


def everywhere(world: World, release: Release) -> bool:
    return all(member.robot.machine.process == release.id for member in world.members.values())


def test_no_more_robots_switch_at_once_than_may() -> None:
    world = fleet(Policy(health_checks="normal", in_flight=LIMIT))
    release = world.release("v2", base_failures=0.0)
    world.roll_out(release, "production")
    assert most_at_once(world, release, 300.0) <= LIMIT
    assert everywhere(world, release)


def test_no_more_switch_at_once_when_a_window_opens() -> None:
    windows = Windows(openings=(parse_opening("08:00-18:00"),), text="08:00-18:00")
    world = fleet(Policy(health_checks="normal", in_flight=LIMIT, window=windows))
    release = world.release("v2", base_failures=0.0)
    world.roll_out(release, "production")
    world.run(6590.0 - 600.0)
    assert most_at_once(world, release, 1200.0) <= LIMIT
    assert everywhere(world, release)


def test_no_more_switch_at_once_when_robots_that_were_off_return_together() -> None:
    world = fleet(Policy(health_checks="normal", in_flight=LIMIT))
    for member in world.members.values():
        member.uplink.cut()
    world.run(120.0)
    release = world.release("v2", base_failures=0.0)
    world.roll_out(release, "production")
    world.run(120.0)
    for member in world.members.values():
        member.uplink.restored()
    assert most_at_once(world, release, 300.0) <= LIMIT
    assert everywhere(world, release)
