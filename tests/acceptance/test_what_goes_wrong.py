"""Bad releases: each ends with the old version running and a line that says why."""

import time
from collections.abc import Callable

import pytest
from acceptance_world import WEB, WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.programs import processes_below, processes_named
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import DeploymentStatus

Worlds = Callable[[int], World]


def test_a_failing_test_fails_the_push_and_leaves_the_robots_alone(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    pid = world.pid_of(world.robots[0])
    world.code.commit("Broken", app("two", **{"test.sh": "echo 'wheel 2 turns backwards'\nexit 1\n"}))
    pushed = world.push()
    assert pushed.code != 0
    assert "wheel 2 turns backwards" in pushed.err
    assert world.newest().status == DeploymentStatus.FAILED
    assert world.active().id == one.id
    assert world.pid_of(world.robots[0]) == pid
    pushed_again = world.push()
    assert pushed_again.code != 0
    assert "wheel 2 turns backwards" in pushed_again.err
    world.release("three")


def test_robots_leave_an_unhealthy_release_by_themselves_and_everybody_is_told(world_with: Worlds) -> None:
    world = world_with(2)
    one = world.release("one")
    world.code.commit("Sick", app("unhealthy", **{"lekiwi.yaml": YAML.replace("retries: 3", "retries: 3, within: 2s")}))
    pushed = world.push()
    assert "Rolled back: 2/2 robots" in pushed.err, pushed.err
    assert "Live on" not in pushed.err
    world.all_run(one, "one")
    sick = world.newest()
    assert sick.status == DeploymentStatus.ROLLED_BACK
    assert "rolled back" in world.lekiwi("list").ok().said
    status = world.lekiwi("status").ok().said
    assert sick.id in status, status
    assert world.lekiwi("inspect", sick.id, "--wait").code == 5
    deployed = world.lekiwi("deploy", "-m", "the same again").exited(5)
    assert "rolled back" in deployed.said
    world.all_run(one, "one")


def test_a_service_that_exits_at_once_is_taken_back(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    world.code.commit("Crash", app("two", **{"clock.py": "import sys\nprint('no motors')\nsys.exit(3)\n"}))
    ran = world.lekiwi("deploy").exited(5)
    assert "no motors" in ran.said or "exit" in ran.said, ran.said
    world.all_run(one, "one")


def test_a_first_release_that_never_becomes_healthy_is_reported_as_failed(world_with: Worlds) -> None:
    world = world_with(1)
    files = app("unhealthy", **{"lekiwi.yaml": YAML.replace("retries: 3", "retries: 3, within: 2s")})
    world.code.commit("Sick from the start", files)
    ran = world.lekiwi("deploy")
    assert ran.code in (1, 5), ran.said
    assert "unhealthy" in ran.said or "500" in ran.said, ran.said
    world.release("well")


def test_a_service_that_ignores_sigterm_is_ended_after_its_grace(world_with: Worlds) -> None:
    world = world_with(1)
    stubborn = WEB.replace("lambda *_: os._exit(0)", "signal.SIG_IGN")
    yaml = YAML.replace("    port: 8000\n", "    port: 8000\n    stop_grace: 1s\n    drain: 0s\n    warm: never\n")
    world.release("stubborn", **{"web.py": stubborn, "lekiwi.yaml": yaml})
    pid = int(world.pid_of(world.robots[0]))
    two = world.release("two", **{"lekiwi.yaml": yaml})
    world.all_run(two, "two")
    eventually("the old process is gone", lambda: pid not in processes_below(world.robots[0].root))


def test_a_test_that_hangs_is_ended_with_its_children_and_the_push_says_so(world_with: Worlds) -> None:
    world = world_with(0)
    hanging = app(
        "one",
        **{"test.sh": "sleep 600.0403 & sleep 600.0403\n", "lekiwi.yaml": YAML.replace("timeout: 20s", "timeout: 1s")},
    )
    world.code.commit("Hang", hanging)
    began = time.monotonic()
    pushed = world.push()
    assert pushed.code != 0
    assert time.monotonic() - began < 30
    assert "1 s" in pushed.err or "1s" in pushed.err, pushed.err
    eventually("nothing of it is left", lambda: not processes_named("sleep 600.0403"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (YAML.replace("health:", "helth:", 1), "health"),
        (YAML.replace("port: 8000", "port: eight"), "port"),
        (YAML + "  web: {run: x}\n", "web"),
        (YAML.replace("interval: 200ms", "interval: soon"), "interval"),
        ("services: [\n", "line"),
        (YAML.replace("run: [python, web.py]", "run: 7"), "run"),
    ],
)
def test_a_mistake_in_lekiwi_yaml_is_named_with_its_line(world_with: Worlds, wrong: str, said: str) -> None:
    world = world_with(0)
    world.code.commit("Mistake", app("one", **{"lekiwi.yaml": wrong}))
    pushed = world.push()
    assert pushed.code != 0
    line = next((line for line in pushed.err.splitlines() if "lekiwi.yaml" in line), "")
    assert said in line or said in pushed.err, pushed.err
    assert any(character.isdigit() for character in line), pushed.err
    assert "Traceback" not in pushed.err


def test_a_build_that_prints_very_much_does_not_drown_anybody(world_with: Worlds) -> None:
    world = world_with(1)
    world.release("one")
    loud = "head -c 200000000 /dev/zero | tr '\\0' 'x' | fold -w 200\necho 3 passed\n"
    world.code.commit("Loud", app("two", **{"test.sh": loud}))
    pushed = world.push().ok()
    assert len(pushed.err) < 20_000_000
    world.robots[0].serves("two", port=WEB_PORT)
