"""Whole fleets for days: fixed seeds, and some that are others every day. A seed that fails says how to run it again."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from lekiwi_deploy.testing.simulation import long_run
from lekiwi_deploy.testing.simulation.invariants import Broken, Invariants
from lekiwi_deploy.testing.simulation.world import World

TODAY = int(os.environ.get("LEKIWI_SEED", datetime.now(UTC).toordinal()))


@pytest.mark.parametrize("seed", [7, TODAY])
def test_a_hundred_robots_for_a_week(seed: int) -> None:
    figures = long_run.run(seed, robots=100, days=7)
    assert figures.assignments > 300 and sum(figures.rollouts.values()) > 10


@pytest.mark.parametrize("seed", [5])
def test_a_thousand_robots_for_a_day(seed: int) -> None:
    figures = long_run.run(seed, robots=1000, days=1)
    assert figures.assignments > 500


@pytest.mark.parametrize("seed", [1, 2, 3, TODAY + 1, TODAY + 2])
def test_small_fleets_of_many_kinds(seed: int) -> None:
    long_run.run(seed, robots=20, days=2)


def test_a_seed_reproduces_exactly() -> None:
    stories: list[list[str]] = [[], []]
    for story in stories:
        long_run.run(11, robots=12, days=1, told=story.append)
    assert stories[0] == stories[1] and len(stories[0]) > 100


def test_a_run_that_fails_says_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Invariants) -> None:
        raise Broken("kiwi-0003 is somewhere else")

    monkeypatch.setattr(Invariants, "at_rest", broken)
    with pytest.raises(long_run.Failed, match="kiwi-0003 is somewhere else") as failed:
        long_run.run(4, robots=3, days=0.1)
    assert "python -m lekiwi_deploy.testing.simulation --seed 4 --robots 3 --days 0.1" in str(failed.value)


def test_the_watch_sees_a_robot_that_nothing_explains() -> None:
    world = World("watched")
    from lekiwi_deploy.wire.policy import Policy, RolloutStep

    world.environment("production", Policy(steps=(RolloutStep(robots=1, soak_s=3600.0),)))
    world.add("kiwi-1", "production")
    watch = Invariants(world)
    world.run(60.0)
    rollout = world.roll_out(world.release("v1", base_failures=0.0), "production")
    world.run(300.0)
    with world.server.database.writing() as writes:
        writes.asked(rollout, world.members[next(iter(world.members))].robot.name, status="pending", waiting=())
    with pytest.raises(Broken, match="nothing says why"):
        watch.step()
