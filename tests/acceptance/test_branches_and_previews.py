"""Branches go where lekiwi.yaml says: production waits for a person, a preview borrows a robot and gives it back."""

import re
from collections.abc import Callable

import pytest
from acceptance_world import WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.previews import Previews, PreviewView

Worlds = Callable[[int], World]

POLICIES = """\
branches: {main: production, staging: staging-robots, development: dev-robots, "pr-*": preview-robots}
production:  {auto_deploy: false, health_checks: strict,  rollback_on_error: true,  deployment_window: null}
staging:     {auto_deploy: true,  health_checks: normal,  rollback_on_error: true}
development: {auto_deploy: true,  health_checks: minimal, rollback_on_error: false}
"""


def of(world: World, group: str) -> list[LocalRobot]:
    """The robots that were added to the group."""
    names = {"production": (0, 1), "staging-robots": (2, 3), "dev-robots": (4,), "preview-robots": (5,)}
    return [world.robots[number] for number in names[group]]


@pytest.fixture
def world(world_with: Worlds) -> World:
    """Six robots in four groups, and a first version of everything in the checkout."""
    made = world_with(0)
    for group in ("production", "production", "staging-robots", "staging-robots", "dev-robots", "preview-robots"):
        made.add_robot(group=group)
    made.all_online()
    made.code.commit("Say where branches go", app("one", **{"lekiwi.yaml": YAML + POLICIES}))
    return made


def previews(world: World) -> dict[str, PreviewView]:
    listed: Previews = world.lekiwi("preview", "list", "--json").ok().json(Previews)
    return {one.environment: one for one in listed.previews}


def test_each_branch_goes_where_the_mapping_says(world: World) -> None:
    (lent,) = of(world, "preview-robots")
    for branch in ("staging", "development", "pr-7"):
        world.code.git("branch", branch).ok()
    pushed = world.code.git("push", "lekiwi", "main", "staging", "development", "pr-7").ok()
    lines = [line.removeprefix("remote: ").rstrip() for line in pushed.err.splitlines()]
    environments = {one.branch: one.environment for one in world.list().deployments}
    assert environments == {
        "main": "production",
        "staging": "staging",
        "development": "development",
        "pr-7": "pr-7",
    }
    ids = {one.branch: one.id for one in world.list().deployments}
    assert any(
        f"{ids['main']} " in line and f"waits for 1 approval: lekiwi approve {ids['main']} -e production" in line
        for line in lines
    ), pushed.err
    assert any(re.search(r"staging@\w{7} → staging +2 robots", line) for line in lines), pushed.err
    assert any(re.search(r"development@\w{7} → development +1 robot", line) for line in lines), pushed.err
    assert any(f"pr-7 has {lent.name} of preview-robots until " in line for line in lines), pushed.err
    at = {robot.name: robot.environment for robot in world.seen().values()}
    assert {at[robot.name] for robot in of(world, "staging-robots")} == {"staging"}, "under the policy of that block"
    for robot in (*of(world, "staging-robots"), *of(world, "dev-robots"), lent):
        robot.serves("one", port=WEB_PORT)
    assert {robot.name: robot.current() for robot in of(world, "production")} == {
        robot.name: None for robot in of(world, "production")
    }
    world.lekiwi("approve", str(ids["main"])).ok()
    for robot in of(world, "production"):
        robot.serves(f"one {ids['main']}", port=WEB_PORT)


def test_a_preview_borrows_a_robot_the_next_one_waits_and_it_comes_home_to_what_it_ran(world: World) -> None:
    (lent,) = of(world, "preview-robots")
    world.push("main:idle", "-o", "env=preview-robots").ok()
    lent.serves("one", port=WEB_PORT)
    before = lent.current()
    for number in (7, 8):
        world.code.git("checkout", "-q", "-b", f"pr-{number}", "main").ok()
        world.code.commit(
            f"Say {number}", app(f"number {number}", **{"lekiwi.yaml": YAML})
        )  # its own mapping says nothing
    first = world.push("pr-7").ok()
    assert "a preview on robots of preview-robots" in first.err
    lent.serves("number 7", port=WEB_PORT)
    second = world.push("pr-8").ok()
    assert "waits for a robot of preview-robots: it is first in the queue; the next comes free " in second.err
    waiting = world.newest()
    why = world.lekiwi("why", waiting.id)
    assert "waits for a robot of preview-robots" in why.said, why.said
    assert "waits: first in the queue" in world.lekiwi("preview").ok().out.replace("waits for a robot", "waits")
    refused = world.lekiwi("preview", "rm", "pr-7").exited(2)
    assert "lekiwi preview rm pr-7 --yes" in refused.err
    world.code.git("push", "lekiwi", "--delete", "pr-7").ok()
    lent.serves("number 8", port=WEB_PORT)
    assert set(previews(world)) == {"pr-8"}
    removed = world.lekiwi("preview", "rm", "pr-8", "--yes", "--reason", "merged").ok()
    assert f"{lent.name} goes back to preview-robots" in removed.out
    assert "undo: lekiwi preview open pr-8" in removed.said
    lent.serves(f"one {before}", port=WEB_PORT)
    assert previews(world) == {}

    def home() -> bool:
        return world.seen()[lent.name].environment == "preview-robots"

    eventually("the robot is at home", home)
    opened = world.lekiwi("preview", "open", "pr-8", "--lease", "90m").ok()
    assert "(in 2 hours)" in opened.out or "(in 1 hour)" in opened.out or "minutes" in opened.out, opened.out
    lent.serves("number 8", port=WEB_PORT)
    world.lekiwi("preview", "extend", "pr-8", "3h").ok()
    assert previews(world)["pr-8"].leases[0].robot == lent.name
    told = world.lekiwi("activity", "--limit", "100").ok().out
    assert f"lent robot {lent.name} of preview-robots to the preview pr-8 until " in told
    assert f"sent robot {lent.name} back to preview-robots" in told
