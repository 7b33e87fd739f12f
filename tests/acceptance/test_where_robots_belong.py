"""Robots in groups, in the environments that have them, as a person sets them up, moves and drains them."""

from __future__ import annotations

from collections.abc import Callable

from acceptance_world import WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import Robot
from lekiwi_deploy.wire.environments import EnvironmentPolicy

POLICIES = """\
production: {health_checks: minimal, groups: field-robots}
staging:    {health_checks: minimal, groups: lab-robots, rollout: [{robots: 1}]}
groups: {field-robots: "group=field-robots, !broken"}
branches: {main: production, next: lab-robots}
"""


def said(world: World, name: str) -> EnvironmentPolicy:
    shown: EnvironmentPolicy = world.lekiwi("environments", "show", name, "--json").ok().json(EnvironmentPolicy)
    return shown


def test_robots_go_where_their_groups_are_and_move_with_their_labels(world_with: Callable[[int], World]) -> None:
    world = world_with(0)
    field, other = world.add_robot(group="field-robots"), world.add_robot(group="field-robots")
    lab = world.add_robot(group="lab-robots")
    world.all_online()
    world.code.commit("With policies", app("hello", **{"lekiwi.yaml": YAML + POLICIES}))
    world.push().ok()
    for robot in (field, other):
        robot.serves("hello", port=WEB_PORT)
    assert said(world, "production").robots == (field.name, other.name)
    assert said(world, "staging").robots == (lab.name,)
    live = world.active()

    world.code.git("checkout", "-q", "-b", "next").ok()
    lax = POLICIES.replace("{robots: 1}", "{percent: 100}").replace("lab-robots, r", "lab-robots, in_flight: 9, r")
    world.code.commit("Say next", app("next", **{"lekiwi.yaml": YAML + lax}))
    world.push("next").ok()
    lab.serves("next", port=WEB_PORT)
    assert said(world, "staging").policy.in_flight is None, "a branch changed the policy that it is judged by"

    moved: Robot = world.lekiwi("robots", "tag", other.name, "group=lab-robots", "--json").ok().json(Robot)
    assert moved.environment == "staging"
    other.serves("next", port=WEB_PORT)
    world.lekiwi("robots", "move", other.name, "production").ok()
    other.serves("hello", port=WEB_PORT)
    assert world.seen()[other.name].labels == {"group": "field-robots"}

    world.lekiwi("robots", "tag", other.name, "broken=yes").ok()
    world.lekiwi("robots", "drain", field.name, "--reason", "arm is open").ok()
    world.code.git("checkout", "-q", "main").ok()
    world.code.commit("Say third", app("third", **{"lekiwi.yaml": YAML + POLICIES}))
    world.push().ok()
    assert (field.current(), other.current()) == (live.id, live.id)
    assert "drained by owner (arm is open): it keeps what it runs" in world.lekiwi("why", field.name).ok().out
    assert "its labels fit no environment any more" in world.lekiwi("why", other.name).ok().out

    world.lekiwi("robots", "undrain", field.name).ok()
    world.lekiwi("robots", "tag", other.name, "broken-").ok()
    for robot in (field, other):
        robot.serves("third", port=WEB_PORT)

    def told() -> bool:
        return all(robot.out is None and not robot.waiting for robot in world.seen().values())

    eventually("nobody is out any more", told)
