"""People let things go live, and move what was built: as they do it, with a real server, agents and git."""

import re
from collections.abc import Callable
from pathlib import Path

from acceptance_world import WEB_PORT, World, app

from lekiwi_deploy.testing.person import Person
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import TokenInfo
from lekiwi_deploy.wire.approvals import ApprovalRequests

Worlds = Callable[[int], World]


def person(world: World, name: str) -> Person:
    """Somebody with a token of their own."""
    made: TokenInfo = world.lekiwi("tokens", "create", f"{name}-{world.project}", "--json").ok().json(TokenInfo)
    assert made.secret is not None
    return Person(
        world.code.folder.parent / f"{world.project}-{name}", world.anna.environment["LEKIWI_API"], made.secret
    )


def does(world: World, who: Person, *arguments: str) -> str:
    """What `lekiwi ARGUMENTS` of somebody else says."""
    return who.lekiwi(*arguments, folder=world.code.folder).ok().said


def test_production_waits_for_two_people_and_then_runs_what_they_looked_at(world_with: Worlds) -> None:
    world = world_with(2)
    one = world.release("one")
    policy = "approvals={count: 2, not_author: true}"
    world.lekiwi("environments", "set", "production", "auto_deploy=false", policy).ok()
    world.code.commit("Say two", app("two"))
    pushed = world.push().ok()
    two = world.newest()
    assert re.search(
        rf"{two.id} .*waits for 2 approvals \(not by its author\): lekiwi approve {two.id} -e production", pushed.err
    ), pushed.err
    for said in (
        world.lekiwi("list").ok().out,
        world.lekiwi("inspect", two.id).ok().out,
        world.lekiwi("why", two.id).ok().out,
    ):
        assert "approval" in said, said
    bob, carl = person(world, "bob"), person(world, "carl")
    world.lekiwi("approve", two.id).exited(3)  # who pushed it
    first = does(world, bob, "approve", two.id, "--reason", "tried it")
    assert "greeting.txt" in first, first  # what differs is shown
    assert "1 more to go" in first, first
    for robot in world.robots:
        assert robot.current() == one.id
    last = does(world, carl, "approve", two.id)
    assert "Deployed successfully" in last, last
    world.all_run(world.active(), "two")
    waiting: ApprovalRequests = world.lekiwi("approvals", "--json").ok().json(ApprovalRequests)
    assert waiting.requests == ()
    history = world.lekiwi("activity").ok().out
    assert re.search(rf"bob-\S+ .*approved {two.id}.*tried it", history), history


def test_what_ran_in_staging_goes_to_production_byte_for_byte_and_back(world_with: Worlds) -> None:
    world = world_with(1)
    old = world.release("old")
    world.lekiwi("environments", "create", "staging").ok()
    staged = world.add_robot(group="staging")
    world.all_online()
    world.code.commit("Say new", app("new"))
    world.code.git("checkout", "-q", "-b", "staging").ok()
    world.push("staging").ok()
    staged.serves("new", port=WEB_PORT)
    world.robots[0].serves("old", port=WEB_PORT)
    new = world.newest()
    shown = world.lekiwi("promote", "staging", "production", "--diff").ok().out
    assert "Say new" in shown, shown
    assert re.search(r"greeting.txt +3 B", shown), shown
    promoted = world.lekiwi("promote", "staging", "production").ok().said
    assert "Deployed successfully" in promoted, promoted
    world.robots[0].serves("new", port=WEB_PORT)
    detail = world.inspect(new.id)
    assert detail.deployment.live_in == ("production", "staging")
    assert detail.deployment.build_s == new.build_s  # the same deployment: nothing was built again
    assert (
        world.lekiwi("diff", "staging", "production").ok().out.splitlines()[1].strip()
        == "the same content, byte for byte"
    )
    world.lekiwi("alias", "stable", old.id).ok()
    world.lekiwi("alias", "production", "stable").ok()
    world.robots[0].serves(f"old {old.id}", port=WEB_PORT)
    again = world.lekiwi("redeploy", "-e", "production").ok().said
    assert "nothing is built" in again, again
    world.robots[0].serves("old", port=WEB_PORT)
    assert world.list().deployments[0].digest == old.digest


def test_cancel_ends_a_build_with_all_its_processes_and_a_rollout_where_it_is(world_with: Worlds) -> None:
    world = world_with(2)
    one = world.release("one")
    world.code.commit("Slow", app("slow", **{"test.sh": "sleep 987 & sleep 987\n"}))
    following = world.anna.start(world.anna.at.lekiwi, "deploy", folder=world.code.folder)
    eventually("its tests run", lambda: len(sleepers()) >= 2, within_s=60)
    said = world.lekiwi("cancel", world.newest().id).ok().said
    assert "its build is stopped" in said, said
    _, told = following.communicate(timeout=60)
    assert (following.returncode, "Canceled" in told) == (1, True), told
    eventually("nothing of it is left", lambda: not sleepers(), within_s=30)
    world.code.commit("Say two", app("two"))
    pace = ("--strategy", "canary", "--soak", "10m")
    following = world.anna.start(world.anna.at.lekiwi, "deploy", *pace, folder=world.code.folder)
    eventually("one robot took it", lambda: [robot.current() for robot in world.robots].count(one.id) == 1, within_s=60)
    two = world.newest()
    stopped = world.lekiwi("cancel", two.id, "--revert").ok().said
    assert "its rollout is stopped" in stopped, stopped
    following.communicate(timeout=60)
    assert following.returncode == 1
    world.all_run(one, "one")


def sleepers() -> list[int]:
    """Processes of the slow tests."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes() == b"sleep\x00987\x00":
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
