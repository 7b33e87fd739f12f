"""The main job: push, look, go back, by every way of saying where to."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from acceptance_world import WEB_PORT, World, app

from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import LogEntry

Worlds = Callable[[int], World]


def test_a_push_reaches_every_robot_and_says_so_line_by_line(world_with: Worlds) -> None:
    world = world_with(2)
    first = world.release("nothing yet")
    commit = world.code.commit("Say hello", app("hello"))
    pushed = world.push().ok()
    assert re.search(r"remote: -----> Build +\S", pushed.err), pushed.err
    assert re.search(r"remote: -----> Test +3 passed", pushed.err), pushed.err
    assert re.search(rf"main@{commit[:7]} → production +2 robots", pushed.err), pushed.err
    for robot in world.robots:
        assert re.search(rf"remote: +{robot.name} +switched [\d.]+ s +healthy", pushed.err), pushed.err
        robot.serves("hello", port=WEB_PORT, within_s=1)
    assert re.search(r"=====> Live on 2/2 robots in [\d.]+ s +undo: lekiwi rollback", pushed.err), pushed.err
    listed = world.lekiwi("list").ok().out.splitlines()
    assert re.search(rf"^{world.newest().id} +\S+ .*✅ Active", listed[-2] if first.id in listed[-1] else ""), listed


def test_every_selector_finds_what_it_names_and_brings_it_back(world_with: Worlds) -> None:
    world = world_with(2)
    one = world.release("one")
    world.code.git("tag", "v2.2.9").ok()
    tagged = world.code.commit("Tagged", app("two"))
    world.code.git("tag", "v2.3.0").ok()
    world.push("main", "--tags").ok()
    two = world.newest()
    assert (two.commit, two.version) == (tagged, "v2.3.0")
    while_two = datetime.now(UTC).isoformat()
    three = world.release("three")
    assert three.version.startswith("v2.3.0")

    def back(to: str, wanted: str, greeting: str) -> None:
        ran = world.lekiwi("rollback", *([f"--to={to}"] if to else [])).ok()
        assert wanted in ran.said, ran.said
        for robot in world.robots:
            robot.serves(f"{greeting} {wanted}", port=WEB_PORT, within_s=1)

    back("", two.id, "two")
    back(one.id, one.id, "one")
    back("v2.3.0", two.id, "two")
    back(f"commit:{three.commit[:6]}" if three.commit else "", three.id, "three")
    back("@-2", one.id, "one")  # were live: one, two, three, two, one, two, three
    back(while_two, two.id, "two")
    back(three.id[:9], three.id, "three")


def test_a_rollback_shows_what_its_words_mean_and_how_to_undo_it(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    world.release("two")
    ran = world.lekiwi("rollback", f"--to=commit:{(one.commit or '')[:8]}").ok()
    assert one.id in ran.said
    assert "undo" in ran.said
    answer = world.lekiwi("rollback", "--to=@-1", "--dry-run", "--json").ok()
    assert answer.json(dict)["rollout"] is None
    assert world.active().id == one.id


@pytest.mark.parametrize("selector", ["v9.9.9", "dep_00000000", "commit:abcdef1", "3-days-ago", "@-40", "alias:none"])
def test_a_rollback_to_what_never_was_says_so_and_changes_nothing(world_with: Worlds, selector: str) -> None:
    world = world_with(1)
    one = world.release("one")
    refused = world.lekiwi("rollback", f"--to={selector}").exited(4)
    assert refused.out == ""
    assert selector.removeprefix("commit:").removeprefix("alias:") in refused.err
    assert "Traceback" not in refused.err
    world.all_run(one, "one")


def test_after_a_rollback_pushes_wait_until_it_is_unfrozen(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    world.release("two")
    world.lekiwi("rollback").ok()
    world.code.commit("Three", app("three"))
    pushed = world.push().ok()
    assert "frozen" in pushed.err, pushed.err
    assert "lekiwi unfreeze" in pushed.err, pushed.err
    assert "frozen" in world.lekiwi("list").ok().said
    assert "frozen" in world.lekiwi("status").ok().said
    world.all_run(one, "one")
    world.lekiwi("unfreeze").ok()
    world.robots[0].serves("three", port=WEB_PORT)


def test_one_robot_taken_back_stays_there_until_it_is_resumed(world_with: Worlds) -> None:
    world = world_with(2)
    one, two = world.release("one"), world.release("two")
    taken, other = world.robots
    world.lekiwi("rollback", f"--robot={taken.name}").ok()
    taken.serves(f"one {one.id}", port=WEB_PORT)
    other.serves(f"two {two.id}", port=WEB_PORT, within_s=1)
    assert "pinned" in world.lekiwi("status").ok().said
    world.lekiwi("robots", "resume", taken.name).ok()
    taken.serves(f"two {two.id}", port=WEB_PORT)


def test_only_the_service_whose_files_changed_is_restarted(world_with: Worlds) -> None:
    world = world_with(1)
    world.release("one")

    def pids() -> dict[str, int | None]:
        (robot,) = world.seen().values()
        return {service.name: service.pid for service in robot.services}

    before = pids()
    world.release("two")
    eventually("the server knows the new process", lambda: pids()["web"] != before["web"])
    assert pids()["clock"] == before["clock"]


def test_logs_tell_what_services_wrote_and_follow_what_they_write(world_with: Worlds) -> None:
    world = world_with(2)
    one = world.release("one")

    def lines(*arguments: str) -> list[LogEntry]:
        ran = world.lekiwi("logs", "--json", *arguments).ok()
        return [msgspec.json.decode(line, type=LogEntry) for line in ran.out.splitlines()]

    eventually("both robots' lines arrive", lambda: sum(line.text == "greeting is one" for line in lines()) == 2)
    name = world.robots[0].name
    assert {line.robot for line in lines(f"--robot={name}")} == {name}
    assert {line.service for line in lines("--service=clock")} == {"clock"}
    following = world.anna.start(world.anna.at.lekiwi, "logs", "--follow", "-p", world.project)
    try:
        two = world.release("two")
        assert following.stdout is not None
        assert any("greeting is two" in line for line in following.stdout)
    finally:
        following.terminate()
        following.communicate(timeout=10)
    assert {line.deployment for line in lines(f"--deployment={two.id}")} == {two.id}
    assert {line.text for line in lines(f"--deployment={one.id}", "--service=web")} == {"greeting is one"}


def test_the_same_commit_is_not_built_twice(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    world.code.git("branch", "staging").ok()
    again = world.lekiwi("deploy", "--ref", "main", "--json").ok()
    assert one.digest is not None
    assert one.digest in again.out
    assert world.newest().digest == one.digest


def test_deploying_a_folder_without_git_works_like_a_push(world_with: Worlds) -> None:
    world = world_with(2)
    world.code.write(app("by hand"))
    ran = world.lekiwi("deploy").ok()
    for robot in world.robots:
        assert robot.name in ran.said
        robot.serves("by hand", port=WEB_PORT, within_s=1)
