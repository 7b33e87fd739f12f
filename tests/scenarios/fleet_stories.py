"""Scripted fleets in virtual time, and the text of what became of them: `make transcripts` writes the texts anew, to be read as a diff."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.errors import Blocked
from lekiwi_deploy.fleet.window_text import parse_opening
from lekiwi_deploy.testing.simulation.people import Manners, People
from lekiwi_deploy.testing.simulation.releases import Flaw, Release
from lekiwi_deploy.testing.simulation.transcript import Transcript
from lekiwi_deploy.testing.simulation.world import World
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.policy import Policy, RolloutStep, Undo
from lekiwi_deploy.wire.windows import Windows

HERE = Path(__file__).parent
MINUTE, HOUR = 60.0, 3600.0
GRADUAL = (RolloutStep(robots=1, soak_s=120.0), RolloutStep(percent=50.0, soak_s=300.0))


class Fleet:
    """Robots of one environment, on which v1 is good, and the story from then on."""

    def __init__(
        self, name: str, policy: Policy, robots: int = 6, labels: Callable[[int], dict[str, str]] | None = None
    ) -> None:
        self.world = World(name)
        self.policy = policy
        self.world.environment("production", Policy(health_checks="normal"))
        for number in range(1, robots + 1):
            self.world.add(f"kiwi-{number}", "production", labels(number) if labels else None)
        self.first = self.release("v1")
        self.world.roll_out(self.first, "production")
        self.world.run(10 * MINUTE)
        self.world.environment("production", policy)
        self.story = Transcript(self.world)

    def release(self, version: str, flaw: Flaw = Flaw.NONE, *, share: float = 1.0, select: str = "") -> Release:
        """A release that fails nowhere but for its flaw."""
        return self.world.release(version, flaw, share=share, select=select, base_failures=0.0)

    def push(self, version: str, flaw: Flaw = Flaw.NONE, *, share: float = 1.0, select: str = "") -> None:
        """Anna pushes it."""
        release = self.release(version, flaw, share=share, select=select)
        self.story.line("anna", f"pushes {version}")
        self.world.roll_out(release, "production")

    def robot(self, number: int) -> RobotId:
        """The name of one."""
        return RobotId(f"kiwi-{number}")


def gradual_good() -> str:
    """A good release reaches one robot, then half, then all."""
    fleet = Fleet("gradual-good", Policy(health_checks="normal", steps=GRADUAL, in_flight=2))
    fleet.push("v2")
    fleet.world.run(30.0)
    fleet.story.why("production")
    fleet.world.run(HOUR)
    fleet.story.why("production")
    return fleet.story.text()


def bad_on_a_label() -> str:
    """A release that fails on hw=v2 only: the roll-out stops, and everybody goes back."""
    policy = Policy(health_checks="normal", steps=(RolloutStep(percent=50.0, soak_s=60.0),), max_failures=1)
    fleet = Fleet("bad-on-a-label", policy, 8, lambda number: {"hw": "v2" if number % 4 == 0 else "v1"})
    fleet.push("v2", Flaw.LABEL, select="hw=v2")
    fleet.world.run(HOUR)
    fleet.story.why("production")
    fleet.story.heading("it is not offered again, unless somebody forces it")
    bad = next(one for one in fleet.world.releases.values() if one.version == "v2")
    try:
        fleet.world.roll_out(bad, "production", kind="rollback")
    except Blocked as error:
        fleet.story.line("server", error.message)
    return fleet.story.text()


def robots_that_are_off() -> str:
    """Two robots are off: they hold nothing up, and take it when they return."""
    fleet = Fleet("robots-that-are-off", Policy(health_checks="normal", steps=GRADUAL))
    for number in (2, 5):
        fleet.world.members[fleet.robot(number)].uplink.cut()
    fleet.world.run(5 * MINUTE)
    fleet.push("v2")
    fleet.world.run(HOUR)
    fleet.story.why("production")
    fleet.story.heading("one comes back")
    fleet.world.members[fleet.robot(2)].uplink.restored()
    fleet.world.run(10 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


def window_closed() -> str:
    """The window opens at eight, by each robot's own clock."""
    windows = Windows(openings=(parse_opening("08:00-10:00"),), text="08:00-10:00")
    fleet = Fleet("window-closed", Policy(health_checks="normal", window=windows), 3)
    fleet.push("v2")
    fleet.world.run(MINUTE)
    fleet.story.why("production")
    fleet.world.run(3 * HOUR)
    fleet.story.heading("a rollback does not wait for the window")
    fleet.story.line("anna", "rolls back to v1")
    fleet.world.run(2 * HOUR)
    fleet.world.roll_out(fleet.first, "production", kind="rollback")
    fleet.world.run(10 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


def superseded() -> str:
    """A newer deployment comes while the older one is on its way."""
    fleet = Fleet("superseded", Policy(health_checks="normal", steps=GRADUAL))
    fleet.push("v2")
    fleet.world.run(4 * MINUTE)
    fleet.push("v3")
    fleet.world.run(HOUR)
    fleet.story.why("production")
    return fleet.story.text()


def rollback_during_a_rollout() -> str:
    """Somebody goes back while half of the fleet has the new one."""
    fleet = Fleet("rollback-during", Policy(health_checks="normal", steps=GRADUAL))
    fleet.push("v2")
    fleet.world.run(5 * MINUTE)
    fleet.story.line("anna", "rolls back to v1")
    fleet.world.roll_out(fleet.first, "production", kind="rollback")
    fleet.world.run(10 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


def approval_step() -> str:
    """A step waits for a person."""
    policy = Policy(health_checks="normal", steps=(RolloutStep(robots=1), RolloutStep(approval=True)))
    fleet = Fleet("approval-step", policy, 4)
    people = People(fleet.world, Manners(), ())
    fleet.push("v2")
    fleet.world.run(30 * MINUTE)
    fleet.story.why("production")
    fleet.story.line("anna", "approves")
    people.steer(list(fleet.world.server.tables.rollouts.values())[-1].id, "approve")
    people.leave()
    fleet.world.run(10 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


def late_joiner() -> str:
    """Robots join while a rollout is on its way, and after it."""
    fleet = Fleet("late-joiner", Policy(health_checks="normal", steps=GRADUAL, in_flight=1), 4)
    fleet.push("v2")
    fleet.world.run(MINUTE)
    fleet.story.line("kiwi-5", "joins")
    fleet.world.add("kiwi-5", "production")
    fleet.world.run(MINUTE)
    fleet.story.why("production")
    fleet.world.run(HOUR)
    fleet.story.line("kiwi-6", "joins")
    fleet.world.add("kiwi-6", "production")
    fleet.world.run(10 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


def fleet_undo() -> str:
    """A release that fails late is taken back from everybody; a robot that is busy goes back when it is free."""
    policy = Policy(health_checks="normal", steps=(RolloutStep(percent=50.0),), max_failures=1, undo=Undo.FLEET)
    fleet = Fleet("fleet-undo", policy, 8, lambda number: {"half": "second" if number > 4 else "first"})
    fleet.push("v2", Flaw.LABEL, select="half=second")
    fleet.world.run(9.0)
    robots = [member.robot for member in fleet.world.members.values()]
    took = [one for one in robots if one.machine.process != fleet.first.id and one.labels["half"] == "first"]
    for robot in took[:1]:
        robot.holding.take("teleop", "being driven", 20 * MINUTE)
        fleet.story.line(robot.name, "is held by teleop for 20 minutes")
    fleet.world.run(5 * MINUTE)
    fleet.story.why("production")
    fleet.world.run(30 * MINUTE)
    fleet.story.why("production")
    return fleet.story.text()


STORIES: dict[str, Callable[[], str]] = {
    story.__name__: story
    for story in (
        gradual_good, bad_on_a_label, robots_that_are_off, window_closed, superseded, rollback_during_a_rollout, approval_step, late_joiner,
        fleet_undo,
    )
}  # fmt: skip


def told(name: str) -> str:
    """The text of a story, with what it is about as its first line."""
    story = STORIES[name]
    return f"# {story.__doc__}\n\n{story()}"


def write() -> None:
    """Writes every text anew."""
    for name in STORIES:
        (HERE / f"{name}.txt").write_text(told(name), encoding="utf-8")


if __name__ == "__main__":
    write()
