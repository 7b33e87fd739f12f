"""Robots of the simulation decide as real ones do: what fails is gone back from, what was not written down is lost, holds are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.testing.simulation.releases import Flaw, Release
from lekiwi_deploy.testing.simulation.world import Member, World
from lekiwi_deploy.wire.policy import Policy


@dataclass
class One:
    """One robot on which v1 is good, and the server."""

    world: World = field(default_factory=lambda: World("one"))

    def __post_init__(self) -> None:
        self.world.environment("production", Policy(health_checks="normal"))
        self.member: Member = self.world.add("kiwi-1", "production")
        self.first = self.deploys()
        self.world.run(600.0)
        assert self.state(self.first) is SlotState.GOOD

    def deploys(self, flaw: Flaw = Flaw.NONE) -> Release:
        release = self.world.release(f"v{len(self.world.releases) + 1}", flaw, base_failures=0.0)
        self.world.roll_out(release, "production")
        return release

    def state(self, release: Release) -> SlotState:
        return self.member.robot.ledger.slots[release.id].state


def test_a_release_that_fails_late_is_gone_back_from() -> None:
    one = One()
    bad = one.deploys(Flaw.SLOW)
    one.world.run(600.0)
    assert one.member.robot.machine.process == one.first.id
    assert one.state(bad) is SlotState.QUARANTINED


def test_a_release_that_takes_the_machine_down_again_and_again_is_given_up() -> None:
    one = One()
    bad = one.deploys(Flaw.CRASH)
    one.world.run(1800.0)
    assert one.member.robot.machine.process == one.first.id
    assert one.state(bad) is SlotState.QUARANTINED
    assert one.member.robot.machine.boots >= 3


def test_a_busy_robot_switches_when_it_is_free() -> None:
    one = One()
    one.member.robot.holding.take("teleop", "being driven", 1200.0)
    good = one.deploys()
    one.world.run(1100.0)
    assert one.member.robot.machine.process == one.first.id
    one.world.run(600.0)
    assert one.member.robot.machine.process == good.id


def test_a_power_cut_ends_what_was_held_and_what_was_downloaded_goes_on() -> None:
    one = One()
    good = one.deploys()
    one.world.run(0.5)
    one.member.robot.power_cut(30.0)
    one.world.run(900.0)
    assert one.state(good) is SlotState.GOOD
    row = one.world.server.tables.robots[one.member.robot.name]
    assert row.session is not None and row.cloned_at is None


def test_a_robot_whose_link_was_cut_hears_of_it_when_it_returns() -> None:
    one = One()
    one.member.uplink.cut()
    good = one.deploys()
    one.world.run(3600.0)
    assert one.member.robot.machine.process == one.first.id
    one.member.uplink.restored()
    one.world.run(900.0)
    assert one.state(good) is SlotState.GOOD


def test_a_server_that_dies_within_a_step_goes_on_where_it_was() -> None:
    one = One()
    one.world.server.kills = 0.2
    good = one.deploys()
    one.world.run(3600.0)
    one.world.server.kills = 0.0
    one.world.run(900.0)
    assert one.state(good) is SlotState.GOOD
