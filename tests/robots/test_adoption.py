"""Getting a robot in, keeping it well, and letting it go, on machines with systemd and sshd."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from adopting_world import AdoptingWorld, everything_on, packages_for
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_ssh import let_in
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import RobotJoin

_numbers = itertools.count(1)
OLD_APP = """\
[Service]
ExecStart=/usr/bin/python3 -m http.server 8000
[Install]
WantedBy=multi-user.target
"""


WEB = """\
import http.server, os, pathlib
pathlib.Path(os.environ["LEKIWI_STATE"], "learnt").touch()
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ["PORT"]))
"""


@pytest.fixture(scope="module")
def world(image: MachineImage) -> Iterator[AdoptingWorld]:
    with ExitStack() as ends:
        packages = packages_for("3.11")
        # not pytest's folder: PostgreSQL runs as another user, who may not pass through that
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="lekiwi-adopting-")))
        lan = Lan()
        ends.callback(lan.close)
        world = AdoptingWorld(folder, lan)
        ends.callback(world.end)
        world.start(packages)
        yield world


@pytest.fixture
def machine(world: AdoptingWorld, machines: Machines) -> Machine:
    """A machine on Anna's network, into which she gets with her key; none of these tests has one of the same name."""
    machine = machines(f"kiwi-{next(_numbers)}", lan=world.lan)
    let_in(machine, key=world.key)
    return machine


@pytest.fixture(autouse=True)
def nobody_types(world: AdoptingWorld) -> None:
    world.types_nothing()


def with_key(world: AdoptingWorld, *more: str) -> tuple[str, ...]:
    return ("--identity", str(world.key.private), *more)


def key_of(machine: Machine) -> str:
    return machine.read("/etc/lekiwi/robot.key")


def doctor(machine: Machine) -> dict[str, str]:
    """State of every check by name; the worst of a name counts."""
    told = msgspec.json.decode(machine.run("lekiwi-agent", "doctor", "--json", check=False).stdout)
    states: dict[str, str] = {}
    for check in told["checks"]:
        if states.get(check["name"]) != "fail":
            states[check["name"]] = check["state"]
    return states


def test_a_machine_is_looked_at_shown_and_becomes_a_robot(world: AdoptingWorld, machine: Machine) -> None:
    machine.write("/etc/systemd/system/old-app.service", OLD_APP)
    machine.boot()
    machine.run("systemctl", "enable", "--now", "old-app")
    before = everything_on(machine)

    looked = world.adopt(machine, options=with_key(world)).exited(2)
    assert "there is no terminal to confirm it on" in looked.err
    assert "old-app.service  enabled, active: /usr/bin/python3 -m http.server 8000" in looked.err
    assert "port     8000" in looked.err
    assert everything_on(machine) == before, "nothing is touched before somebody says yes"
    assert machine.name not in world.names()

    adopted = world.adopt(machine, options=with_key(world, "--yes")).exited(0)
    assert f"{machine.name}  adopted in" in adopted.out
    assert world.robot(machine.name).online
    assert {name for name, state in doctor(machine).items() if state == "fail"} == set()
    assert machine.run("systemctl", "is-active", "old-app").stdout.strip() == "active"

    key = key_of(machine)
    again = world.adopt(machine, options=with_key(world, "--yes")).exited(0)
    assert "up to date" in again.out
    assert key_of(machine) == key, "it is the same robot, and did not join again"

    machine.power_off()
    machine.boot()
    eventually(f"{machine.name} is back", lambda: doctor(machine)["link"] == "ok", within_s=20)
    assert machine.run("systemctl", "is-enabled", "lekiwi-agent", "lekiwi-agent-net").stdout.split() == ["enabled"] * 2


def test_removal_leaves_the_machine_as_it_was(world: AdoptingWorld, machine: Machine) -> None:
    machine.boot()
    before = everything_on(machine)
    world.adopt(machine, options=with_key(world, "--yes")).exited(0)
    world.deploy(WEB)
    eventually("the deployment is good, and boots", lambda: doctor(machine).get("boot") == "ok", within_s=60, every_s=1)
    with_an_app = everything_on(machine)
    assert "/var/lib/private/lekiwi/state/web/learnt" in with_an_app["files"]
    assert "lekiwi" in with_an_app["rules"] and "lekiwi-web-" in with_an_app["loaded"]
    assert {name for name, state in doctor(machine).items() if state == "fail"} == set()

    asked = machine.run("lekiwi-agent", "uninstall", check=False)
    assert asked.returncode == 2 and "/opt/lekiwi" in asked.stderr
    done = machine.run("lekiwi-agent", "uninstall", "--yes")
    assert f"lekiwi robots rm {machine.name}" in done.stderr
    assert everything_on(machine) == before
    assert machine.run("pgrep", "-f", "lekiwi", check=False).stdout == ""
    assert machine.run("sh", "-c", "ls -A /run | grep lekiwi", check=False).stdout == ""
    world.lekiwi("robots", "rm", machine.name, "--yes").ok()


def test_passwords_are_enough_and_can_be_locked_out_afterwards(world: AdoptingWorld, machine: Machine) -> None:
    let_in(machine, password="kiwi-pw", sudo="password")
    machine.boot()

    world.types_password("wrong")
    wrong = world.adopt(machine, options=("--yes", "--sudo-password"), stdin="kiwi-pw\n").exited(3)
    assert "was not let in" in wrong.err

    world.types_password("kiwi-pw")
    refused = world.adopt(machine, options=("--yes", "--sudo-password"), stdin="wrong\n").exited(3)
    assert "does not take that password" in refused.err
    unasked = world.adopt(machine, options=("--yes",)).exited(3)
    assert "asks pi for a password" in unasked.err

    locked_out = world.adopt(machine, options=("--yes", "--sudo-password", "--lock-ssh"), stdin="kiwi-pw\n").exited(9)
    assert "you would be locked out" in locked_out.err
    assert world.robot(machine.name).online, "it is a robot all the same"

    world.types_nothing()
    sudo = ("--sudo-password", "--lock-ssh")
    locked = world.adopt(machine, options=with_key(world, "--yes", *sudo), stdin="kiwi-pw\n").exited(0)
    assert "nobody logs in with a password any more" in locked.err
    world.types_password("kiwi-pw")
    world.adopt(machine, options=("--dry-run", "--sudo-password"), stdin="kiwi-pw\n").exited(3)
    machine.run("lekiwi-agent", "lock-ssh", "--undo")
    world.adopt(machine, options=("--dry-run", "--sudo-password"), stdin="kiwi-pw\n").exited(0)


def test_the_printed_line_makes_a_robot_with_curl(world: AdoptingWorld, machine: Machine) -> None:
    machine.boot()
    added = world.lekiwi("robots", "add", machine.name, "--group", "production", "-p", "kiwi").ok()
    line = next(line for line in added.err.splitlines() if line.startswith("curl "))
    pinned = line.split("--sha256 ")[1].split()[0]
    command = line.replace("sudo sh", "sh")

    other = machine.run("sh", "-c", command.replace(pinned, "0" * 64), check=False)
    assert other.returncode == 1 and "another agent than the one that this line pins" in other.stderr
    assert not machine.path("/opt/lekiwi").exists()
    as_user = machine.run("sh", "-c", command, user="pi", check=False)
    assert as_user.returncode == 1 and "has to run as root" in as_user.stderr

    done = machine.run("sh", "-c", command)
    assert f"{machine.name} is linked" in done.stderr
    assert world.robot(machine.name).online
    key = key_of(machine)
    assert "is there already, undamaged" in machine.run("sh", "-c", command).stderr
    assert key_of(machine) == key

    spoiled = next(machine.path("/opt/lekiwi/agent").glob("0*/lib/python3*/site-packages/lekiwi_deploy/errors.py"))
    spoiled.write_text("")
    machine.run("sh", "-c", command)
    assert doctor(machine)["agent"] == "ok", "what was damaged is repaired"

    rejoin = world.lekiwi("robots", "rejoin", machine.name, "--json").ok().json(RobotJoin)
    machine.run("sh", "-c", command.split(" --token")[0] + f" --token {rejoin.token} --again --insecure-http")
    assert key_of(machine) != key
    assert world.robot(machine.name).online


def test_many_are_adopted_at_once_and_one_that_is_not_there_stops_nobody(
    world: AdoptingWorld, machines: Machines
) -> None:
    both = [machines(name, lan=world.lan) for name in ("left-kiwi", "right-kiwi")]
    for machine in both:
        let_in(machine, key=world.key)
        machine.boot()
    ran = world.adopt(*both, "10.83.0.250", options=with_key(world, "--yes", "-o", "ConnectTimeout=2")).exited(6)
    assert "10.83.0.250" in ran.err
    assert all(world.robot(machine.name).online for machine in both)
    taken = world.adopt(*both, options=with_key(world, "--yes", "--name", "x")).exited(2)
    assert "--name is for one machine" in taken.err


def test_what_stands_in_the_way_is_told_and_nothing_is_changed(world: AdoptingWorld, machine: Machine) -> None:
    let_in(machine, key=world.key, sudo="no")
    machine.boot()
    before = everything_on(machine)
    no_sudo = world.adopt(machine, options=with_key(world, "--yes", "--sudo-password"), stdin="x\n").exited(3)
    assert "sudo" in no_sudo.err
    machine.write("/etc/sudoers.d/pi", "pi ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    nowhere = world.adopt(machine, options=with_key(world, "--yes", "--url", "http://10.83.0.1:9")).exited(1)
    assert "cannot be reached from there" in nowhere.err
    machine.write(
        "/etc/lekiwi/agent.json",
        '{"server":"https://other.example.org","server_id":"srv_x","robot":"r","project":"p","environment":"e"}',
    )
    elsewhere = world.adopt(machine, options=with_key(world, "--yes")).exited(9)
    assert "is the robot r of https://other.example.org already" in elsewhere.err
    machine.run("rm", "-r", "/etc/lekiwi")
    assert everything_on(machine) == before
    assert machine.name not in world.names()

    world.adopt(machine, options=with_key(world, "--yes")).exited(0)
    machine.run("lekiwi-agent", "uninstall", "--yes")
    taken = world.adopt(machine, options=with_key(world, "--yes")).exited(9)
    assert "there is a robot" in taken.err
    world.adopt(machine, options=with_key(world, "--yes", "--again")).exited(0)


KILLER = Path(__file__).with_name("dies_at.py")


def test_an_installation_that_is_killed_anywhere_leaves_a_robot_that_works(
    world: AdoptingWorld, machine: Machine
) -> None:
    machine.boot()
    world.adopt(machine, options=with_key(world, "--yes")).exited(0)
    machine.write("/srv/dies_at.py", KILLER.read_text())
    key, step, died = key_of(machine), 0, 0
    program = machine.run("readlink", "-f", "/usr/local/bin/lekiwi-agent").stdout.strip()
    python = str(Path(program).with_name("python"))
    while True:
        for name in ("current", "/usr/local/bin/lekiwi-agent", "/etc/systemd/system/lekiwi-agent-net.service"):
            machine.run("rm", "-f", str(Path("/opt/lekiwi/agent") / name))  # so that every step has something to do
        install = shlex.join([python, "-I", "/srv/dies_at.py", str(step), program, "install"])
        done = machine.run("sh", "-c", install, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 137 or done.returncode == -9, done.stderr
        step, died = step + 4, died + 1
        machine.run(program, "install")
        assert doctor(machine)["link"] == "ok"
        assert key_of(machine) == key
    assert died >= 3
    assert world.robot(machine.name).online
