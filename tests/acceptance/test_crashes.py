"""Power cuts and kill -9 everywhere; afterwards everything converges and nothing that was said is lost."""

import threading
from collections.abc import Callable

from acceptance_world import WEB, WEB_PORT, YAML, World, app

from lekiwi_deploy.testing.person import Ran
from lekiwi_deploy.testing.programs import processes_named
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import DeploymentStatus
from lekiwi_deploy.wire.link import Result

Worlds = Callable[[int], World]
SLOW_TO_START = "import time\ntime.sleep(1.5)\n"


class InBackground:
    """A command that runs while the test does something to the world."""

    def __init__(self, command: Callable[[], Ran]) -> None:
        self._ran: list[Ran] = []
        self._thread = threading.Thread(target=lambda: self._ran.append(command()))
        self._thread.start()

    def result(self) -> Ran:
        self._thread.join(90)
        return self._ran[0]


def test_a_rollout_finishes_although_the_server_was_killed_in_the_middle(fragile_world: World) -> None:
    world = fragile_world
    one = world.release("one")
    world.code.commit("Two", app("two", **{"web.py": SLOW_TO_START + WEB}))
    push = InBackground(world.push)
    eventually("a robot switches", lambda: any(robot.current() not in (None, one.id) for robot in world.robots))
    world.fleet.server.kill()
    push.result()
    world.fleet.server.start()
    for robot in world.robots:
        robot.serves("two", port=WEB_PORT)
    eventually("the rollout is over", lambda: world.newest().status == DeploymentStatus.LIVE)
    world.all_run(world.newest(), "two")


def test_a_push_whose_build_died_with_the_server_fails_and_works_the_second_time(fragile_world: World) -> None:
    world = fragile_world
    one = world.release("one")
    world.code.commit("Two", app("two", **{"test.sh": "sleep 4.0401\necho ok\n"}))
    push = InBackground(world.push)
    eventually("the test runs", lambda: processes_named("sleep 4.0401"))
    world.fleet.server.kill()
    assert push.result().code != 0
    world.fleet.server.start()
    world.all_online()
    world.all_run(one, "one")
    world.push().ok()
    for robot in world.robots:
        robot.serves("two", port=WEB_PORT)
    assert world.newest().status == DeploymentStatus.LIVE


def test_a_deploy_of_a_folder_goes_on_after_the_server_was_killed_in_its_build(fragile_world: World) -> None:
    world = fragile_world
    world.release("one")
    world.code.write(app("two", **{"test.sh": "sleep 4.0402\necho ok\n"}))
    deploy = InBackground(lambda: world.lekiwi("deploy"))
    eventually("the test runs", lambda: processes_named("sleep 4.0402"))
    world.fleet.server.kill()
    world.fleet.server.start()
    deploy.result()
    for robot in world.robots:
        robot.serves("two", port=WEB_PORT, within_s=60)


def test_stop_and_start_forgets_nothing(fragile_world: World) -> None:
    world = fragile_world
    one = world.release("one")
    two = world.release("two")
    assert world.fleet.server.stop() == 0
    world.fleet.server.start()
    world.all_online()
    assert [deployment.id for deployment in world.list().deployments] == [two.id, one.id]
    world.lekiwi("rollback").ok()
    world.all_run(one, "one")


def test_a_robot_rolls_back_alone_while_the_server_is_off(fragile_world: World) -> None:
    world = fragile_world
    one = world.release("one")
    two = world.release("two")
    robot = world.robots[0]
    world.fleet.server.kill()
    assert "two" in robot.get(WEB_PORT)
    assert two.id in robot.command("status").ok().said
    robot.command("rollback").ok()
    robot.serves(f"one {one.id}", port=WEB_PORT)
    world.fleet.server.start()
    eventually("the server hears of the pin", lambda: world.seen()[robot.name].pin is not None)
    robot.serves(f"one {one.id}", port=WEB_PORT, within_s=1)


def test_a_service_that_falls_ill_in_its_trial_is_taken_back_without_the_server(fragile_world: World) -> None:
    world = fragile_world
    one = world.release("one")
    robot = world.robots[0]
    flag = world.fleet.folder / "ill"
    web = WEB.replace('"unhealthy" not in greeting', f'not pathlib.Path("{flag}").exists()')
    policy = "production: {auto_deploy: true, health_checks: normal, rollback_on_error: true}\n"
    world.release("two", **{"web.py": web, "lekiwi.yaml": YAML + policy})
    world.fleet.server.kill()
    flag.touch()
    robot.serves(f"one {one.id}", port=WEB_PORT, within_s=30)
    world.fleet.server.start()

    def heard() -> bool:
        outcome = world.seen()[robot.name].outcome
        return outcome is not None and outcome.result == Result.ROLLED_BACK

    eventually("the server hears of it", heard)


def test_an_agent_killed_while_it_switches_finishes_when_it_is_back(world_with: Worlds) -> None:
    world = world_with(1)
    one = world.release("one")
    robot = world.robots[0]
    world.code.commit("Two", app("two", **{"web.py": SLOW_TO_START + WEB}))
    push = InBackground(world.push)
    eventually("it switches", lambda: robot.current() != one.id)
    robot.power_cut()
    robot.start()
    push.result()
    world.all_run(world.newest(), "two")


def test_an_agent_killed_alone_keeps_its_services_and_goes_on(world_with: Worlds) -> None:
    world = world_with(1)
    world.release("one")
    robot = world.robots[0]
    robot.kill()
    robot.start()
    two = world.release("two")
    world.all_run(two, "two")


def test_an_agent_killed_while_it_fetches_finishes_when_it_is_back(world_with: Worlds) -> None:
    world = world_with(1)
    world.release("one")
    robot = world.robots[0]
    for number in range(3):
        world.code.commit(f"Much {number}", app(f"much {number}", **{f"model{number}.txt": _noise(number)}))
        push = InBackground(world.push)
        before = world.active().id
        eventually(
            "a new release is rolled out", lambda before=before: world.newest().id != before and world.newest().rollout
        )
        robot.power_cut()
        robot.start()
        push.result()
        robot.serves(f"much {number}", port=WEB_PORT)


def _noise(seed: int) -> str:
    import hashlib

    return "".join(hashlib.sha256(f"{seed} {n}".encode()).hexdigest() + "\n" for n in range(60_000))


def test_a_robot_that_was_off_converges_to_what_is_wanted_now(world_with: Worlds) -> None:
    world = world_with(2)
    world.release("one")
    away, here = world.robots
    away.power_cut()
    eventually("the server sees it is off", lambda: not world.seen()[away.name].online)
    for greeting in ("two", "three", "four"):
        world.code.commit(greeting, app(greeting))
        pushed = world.push().ok()
        assert "1/2" in pushed.err, pushed.err
        assert "pending" in pushed.err.lower(), pushed.err
    here.serves("four", port=WEB_PORT, within_s=1)
    away.start()
    away.serves("four", port=WEB_PORT)
    world.all_run(world.newest(), "four")
