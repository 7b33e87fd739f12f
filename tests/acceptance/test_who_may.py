"""Tokens, join lines and keys: what proves who somebody is, and what happens without."""

import shutil
from collections.abc import Callable

from acceptance_world import WEB_PORT, World, app

from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import RobotJoin

Worlds = Callable[[int], World]


def test_a_join_token_is_used_once(world_with: Worlds) -> None:
    world = world_with(0)
    added = world.lekiwi("robots", "add", "kiwi-x", "--group", "production", "--json").ok().json(RobotJoin)
    assert added.command.startswith("lekiwi-agent join ")
    first = world.fleet.robot("kiwi-x", port_offset=world.fleet.ports.take() - WEB_PORT)
    world.robots.append(first)
    first.join(world.anna.environment["LEKIWI_API"], added.token)
    second = world.fleet.robot("kiwi-x-thief")
    world.robots.append(second)
    ran = second.command("join", world.anna.environment["LEKIWI_API"], "--token", added.token)
    assert ran.code == 3, ran.said
    assert "used" in ran.said
    assert not (second.root / "etc/lekiwi/robot.key").exists()
    first.start()
    world.all_online()


def test_two_machines_with_one_key_are_both_refused_until_a_person_decides(world_with: Worlds) -> None:
    world = world_with(1)
    world.release("one")
    honest = world.robots[0]
    clone = world.fleet.robot(f"{honest.name}-clone", port_offset=world.fleet.ports.take() - WEB_PORT)
    world.robots.append(clone)
    shutil.copytree(honest.root / "etc", clone.root / "etc")
    clone.set_variables({})
    clone.start_elsewhere("11111111-2222-3333-4444-555555555555")
    eventually("the clone is told", lambda: "key" in clone.program.text())
    eventually("the server says so", lambda: "key" in world.lekiwi("status").ok().said)
    assert clone.current() is None
    honest.serves("one", port=WEB_PORT, within_s=1)


def test_without_a_valid_token_nothing_is_told(world_with: Worlds) -> None:
    world = world_with(0)
    stranger = world.fleet.person("stranger", token="lkd_" + "0" * 40)
    assert stranger.lekiwi("list", "-p", world.project).exited(3).out == ""
    code = stranger.repository(world.fleet.folder / "code/stranger", app("mine"))
    pushed = code.push(world.project)
    assert pushed.code != 0
    assert "Traceback" not in pushed.err


def test_a_token_in_the_address_is_refused_with_what_to_do_instead(world_with: Worlds) -> None:
    world = world_with(0)
    token = world.anna.environment["LEKIWI_TOKEN"]
    port = world.fleet.server.port
    pushed = world.code.git("push", f"http://{token}@127.0.0.1:{port}/git/{world.project}.git", "main")
    assert pushed.code != 0
    assert "must not stand in the address" in pushed.err, pushed.err


def test_a_push_to_a_project_that_nobody_may_make_says_how_to_make_it(world_with: Worlds) -> None:
    world = world_with(0)
    pushed = world.code.push("No Such Thing!")
    assert pushed.code != 0
    pushed = world.code.push("current")
    assert pushed.code != 0


def test_an_owners_first_push_makes_the_project(world_with: Worlds) -> None:
    world = world_with(0)
    name = f"{world.project}-new"
    world.code.push(name).ok()
    assert "queued" not in world.lekiwi("list", "-p", name).ok().said


def test_login_keeps_the_token_and_logout_forgets_it(world_with: Worlds) -> None:
    world = world_with(0)
    token = world.anna.environment["LEKIWI_TOKEN"]
    newcomer = world.fleet.person("newcomer")
    del newcomer.environment["LEKIWI_TOKEN"]
    del newcomer.environment["LEKIWI_API"]
    api = world.fleet.server.url
    newcomer.lekiwi("login", api, "--token-stdin", stdin=token + "\n").ok()
    assert "owner" in newcomer.lekiwi("whoami").ok().said
    newcomer.lekiwi("list", "-p", world.project).ok()
    newcomer.lekiwi("logout").ok()
    newcomer.lekiwi("whoami").exited(3)
