"""Variables, as a new user would meet them: added, deployed, changed, taken back; and nowhere in clear but in the service that reads them."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from acceptance_world import WEB, WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.wire.variables import Variables, VariablesChanged

Worlds = Callable[[int], World]

READS = YAML.replace("    port: 8000\n", "    port: 8000\n    env: [API_KEY, MODE]\n")
ANSWERS = WEB.replace(
    "body = f\"{greeting} {os.environ['LEKIWI_DEPLOYMENT']} {os.getpid()}\".encode()",
    "body = f\"{os.environ.get('MODE')} {digest} {greeting} {os.getpid()}\".encode()",
).replace(
    "greeting = ",
    'import hashlib\ndigest = hashlib.sha256(os.environ.get("API_KEY", "").encode()).hexdigest()[:12]\ngreeting = ',
)
PLAIN = "secret123"


def digest(value: str) -> str:
    """What the service answers with instead of the value."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def reading_app(greeting: str) -> dict[str, str]:
    """A web service that reads API_KEY and MODE, beside a clock that reads nothing."""
    return app(greeting, **{"lekiwi.yaml": READS, "web.py": ANSWERS})


def clock_pids(world: World) -> list[int]:
    """The clock's process on each robot."""
    found = []
    for robot in world.seen().values():
        found += [one.pid or 0 for one in robot.services if one.name == "clock"]
    return found


def deploy(world: World, greeting: str) -> None:
    """Pushes a version, as far as every robot serves it."""
    world.code.commit(f"Say {greeting}", reading_app(greeting))
    world.push().ok()
    all_serve(world.robots, f" {greeting} ")


def all_serve(robots: Iterable[LocalRobot], text: str) -> None:
    """Waits until every robot answers with that."""
    for robot in robots:
        robot.serves(text, port=WEB_PORT)


def files_with(folders: Iterable[Path], *needles: bytes) -> list[str]:
    """Regular files that hold one of the needles anywhere."""
    found = []
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in names:
                path = Path(where, name)
                if path.is_symlink() or not path.is_file():
                    continue
                content = path.read_bytes()
                found += [f"{path}: {needle!r}" for needle in needles if needle in content]
    return found


def test_a_variable_is_what_it_was_after_a_rollback_and_nowhere_in_clear(fragile_world: World) -> None:
    world = fragile_world
    deploy(world, "one")
    all_serve(world.robots, f"None {digest('')}")
    one = world.active().id

    added = world.lekiwi("env", "add", f"API_KEY={PLAIN}").ok()
    assert "API_KEY (secret) added: all environments but previews" in added.out
    assert "Not live until the next deploy: lekiwi redeploy -e production" in added.err
    world.lekiwi("env", "add", f"API_KEY={PLAIN}").exited(9)
    world.lekiwi("env", "add", "MODE=calm", "-e", "production").ok()
    all_serve(world.robots, f"None {digest('')}")  # not before a deployment

    deploy(world, "two")
    all_serve(world.robots, f"calm {digest(PLAIN)}")
    two = world.active().id
    clocks = clock_pids(world)

    changed = world.lekiwi("env", "update", "API_KEY=other456", "--apply").ok()
    assert "Deployed successfully" in changed.out, changed.said
    all_serve(world.robots, f"calm {digest('other456')} two ")
    assert clock_pids(world) == clocks, "the clock reads none of it"
    assert world.active().digest == world.inspect(two).deployment.digest

    world.lekiwi("rollback").ok()
    assert world.active().id == two
    all_serve(world.robots, f"calm {digest(PLAIN)} two ")
    assert clock_pids(world) == clocks
    listed = world.lekiwi("env", "list").ok()
    assert "2 robots without it" in listed.out
    assert PLAIN not in listed.said

    world.lekiwi("rollback", f"--to={one}", "--keep-env").ok()
    all_serve(world.robots, f"calm {digest('other456')} one ")
    assert clock_pids(world) == clocks

    for verb in (["history"], ["diff", "1", "now"], ["list", "--json"], ["pull", "-"]):
        said = world.lekiwi("env", *verb).ok().said
        assert PLAIN not in said and "other456" not in said, verb
    for more in (["activity"], ["logs", "-n", "500"], ["list", "--json"]):
        said = world.lekiwi(*more).ok().said
        assert PLAIN not in said and "other456" not in said, more

    for robot in world.robots:
        robot.stop()
    assert world.fleet.server.stop() == 0
    needles = [
        form
        for value in (PLAIN.encode(), b"other456")
        for form in (value, value.hex().encode(), base64.b64encode(value).rstrip(b"=")[:-1])
    ]
    assert files_with([world.fleet.folder], *needles) == []


def test_a_bad_value_is_taken_back_by_the_robots_like_bad_code(world_with: Worlds) -> None:
    world = world_with(1)
    sick = ANSWERS.replace('"unhealthy" not in greeting', 'os.environ.get("MODE") != "wild"')
    world.code.commit("Say one", reading_app("one") | {"web.py": sick})
    world.push().ok()
    world.lekiwi("env", "add", "MODE=calm", "--apply").ok()
    all_serve(world.robots, f"calm {digest('')} one ")
    good = world.active().id
    world.lekiwi("env", "update", "MODE=wild", "--apply").exited(5)
    all_serve(world.robots, f"calm {digest('')} one ")
    assert world.active().id == good
    listed: Variables = world.lekiwi("env", "list", "--json").ok().json(Variables)
    assert [(one.name, one.value, one.live) for one in listed.variables] == [("MODE", "wild", False)]


def test_each_robot_gets_its_own(world_with: Worlds) -> None:
    world = world_with(2)
    first, second = world.robots
    world.lekiwi("robots", "tag", second.name, "hw=v2").ok()
    world.lekiwi("env", "add", "MODE=plain").ok()
    world.lekiwi("env", "add", "MODE=new", "--tag", "hw=v2").ok()
    world.lekiwi("env", "add", "API_KEY=own", "-r", first.name).ok()
    deploy(world, "one")
    all_serve([first], f"plain {digest('own')} one ")
    all_serve([second], f"new {digest('')} one ")
    listed: Variables = world.lekiwi("env", "list", "--resolved", "-r", second.name, "--json").ok().json(Variables)
    assert [(one.name, one.scope, one.of) for one in listed.variables] == [("MODE", "tag", "hw=v2")]


def test_a_file_is_pulled_for_its_owner_alone_and_pushed_again(world_with: Worlds) -> None:
    world = world_with(1)
    deploy(world, "one")
    env = world.code.folder / ".env"
    env.write_text("MODE='two words'\nAPI_KEY=hunter2\nNOBODY=1\n")
    would: VariablesChanged = world.lekiwi("env", "push", ".env", "--dry-run", "--json").ok().json(VariablesChanged)
    assert (would.added, would.undeclared, would.dry_run) == (("API_KEY", "MODE", "NOBODY"), ("NOBODY",), True)
    pushed = world.lekiwi("env", "push", ".env", "--config").ok()
    assert "no service declares NOBODY" in pushed.err
    env.unlink()
    world.lekiwi("env", "update", "API_KEY=hunter3", "--secret").ok()
    world.lekiwi("env", "pull").ok()
    text = env.read_text()
    assert "MODE='two words'\nNOBODY=1\n" in text
    assert "# API_KEY is a secret: it can be set, not read" in text
    assert "hunter" not in text
    assert env.stat().st_mode & 0o777 == 0o600
    kept: VariablesChanged = (
        world.lekiwi("env", "push", ".env", "--prune", "--yes", "--json").ok().json(VariablesChanged)
    )
    assert (kept.removed, kept.changed) == ((), ())
    ran = world.lekiwi("env", "run", "--", "sh", "-c", 'echo "$MODE-$API_KEY-"').ok()
    assert ran.out == "two words--\n"
    assert "left out, being secrets that nobody can read: API_KEY" in ran.err
    env.write_text("A-B=hunter2\n")
    refused = world.lekiwi("env", "push", ".env").exited(2)
    assert ".env, line 1" in refused.said and "hunter" not in refused.said
