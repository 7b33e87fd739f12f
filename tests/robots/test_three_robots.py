"""As a new user would: three robots adopted over SSH, five deployments under a WebSocket, back, a pulled plug, and a server that is off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from fleet_of_machines import WEB, FleetOfMachines, fleet_of_machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.waiting import NeverHappened, eventually

DISK = ("ext4", 1500)


@pytest.fixture(scope="module")
def fleet(image: MachineImage) -> Iterator[FleetOfMachines]:
    with fleet_of_machines(image, ("lekiwi-001", "lekiwi-002", "lekiwi-003"), disk=DISK) as fleet:
        fleet.release("zero")
        fleet.skip_tests()
        yield fleet


def pid_of(machine: Machine, what: str) -> str:
    return machine.run("pgrep", "-f", what).stdout.split()[0]


def test_a_websocket_survives_five_deployments_and_the_way_back(fleet: FleetOfMachines) -> None:
    robot = fleet.machines[0]
    with fleet.talk_to(robot) as talk, contextlib.closing(fleet.dial(robot, WEB)) as stream:
        stream.sendall(b"GET /camera HTTP/1.1\r\nHost: robot\r\n\r\n")
        talk.send("0")
        assert str(talk.recv(10)).startswith("zero 0 from ")
        made = []
        for greeting in ("one", "two", "three", "four", "five"):
            made.append(fleet.release(greeting))
            talk.send(greeting)
            assert str(talk.recv(10)).startswith(f"zero {greeting} from "), "another process answers on this connection"
            assert stream.recv(1 << 20), "the picture stopped"
            with fleet.talk_to(robot) as fresh:
                fresh.send("you")
                assert fresh.recv(10) == f"{greeting} you from {made[-1]}"
        fleet.lekiwi("rollback").ok()
        fleet.all_run(made[-2])
        talk.send("still")
        assert str(talk.recv(10)).startswith("zero still from ")
    fleet.lekiwi("unfreeze", "-e", "production").ok()


def test_a_robot_whose_plug_is_pulled_in_mid_switch_comes_back_and_tells(fleet: FleetOfMachines) -> None:
    robot = fleet.machines[1]
    before = fleet.journal(robot)["live"]
    fleet.code.write({"talk.py": (fleet.code.folder / "talk.py").read_text() + "# pulled\n"})
    fleet.code.commit("Pull the plug")
    push = fleet.anna.start("git", "push", f"{fleet.relay.url}/git/kiwi.git", "main", folder=fleet.code.folder)
    try:
        eventually("the switch has begun", lambda: fleet.journal(robot)["live"] != before, within_s=60, every_s=0.001)
    except NeverHappened as error:
        push.kill()
        raise AssertionError(f"{error}; {push.communicate()}; {fleet.lekiwi('why', robot.name).said}") from None
    robot.pull_the_plug()
    live = fleet.journal(robot)["live"]
    assert robot.path("/opt/lekiwi/current").readlink().name in (before, live)
    push.communicate(timeout=120)
    robot.boot()
    fleet.all_run(fleet.newest())
    told = [event.kind for event in fleet.events(robot)]
    assert told.count("agent_started") >= 2


def test_with_the_server_off_a_broken_service_heals_and_the_story_is_told_in_order(fleet: FleetOfMachines) -> None:
    robot = fleet.machines[2]
    deployment = fleet.newest()
    fleet.server.stop()
    victim = pid_of(robot, "kiwi.web")
    robot.run("kill", "-9", victim)
    eventually("the page is back", lambda: fleet.page(robot) and pid_of(robot, "kiwi.web") != victim)
    current = robot.path("/opt/lekiwi/current").readlink().name
    victim = pid_of(robot, "kiwi.web")
    code = f"/opt/lekiwi/deployments/{current}/code/kiwi/web"
    robot.run("sh", "-c", f"cd {code}; rm -rf __pycache__ server.py; echo 'broken(' >server.py; kill -9 {victim}")
    eventually("the file is whole again", lambda: "broken(" not in robot.read(f"{code}/server.py"))
    eventually("the page is back again", lambda: fleet.page(robot))
    fleet.start_server()
    kinds = ("exited", "damaged")

    def story() -> list[str]:
        return [event.kind for event in fleet.events(robot) if event.kind in kinds]

    eventually("the server knows the story", lambda: story()[-3:] == ["exited", "exited", "damaged"], within_s=60)
    fleet.all_run(deployment)
