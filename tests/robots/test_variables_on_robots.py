"""Variables on a robot with systemd: any value arrives as it was, none lies on the disk, and a boot without network or agent has them all."""

from __future__ import annotations

import json
import random

import pytest
from robots_world import Machines
from small_robot import CHECKS, PORT, SmallRobot
from supervised_robot import Driven, prepared

from lekiwi_deploy.agent.supervisors.systemd.fixed_units import ENABLED, FIXED_PROGRAMS, FIXED_UNITS
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import Hook, HookKind
from lekiwi_deploy.wire.sealing import seal
from lekiwi_deploy.wire.variables import SealedVariables

SERVES = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({name: os.environ.get(name) for name in ("API_KEY", "PEM", "OWN")}).encode())
    def log_message(self, *arguments):
        pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
TALKS = "import os; print('my key is', os.environ['API_KEY'], flush=True)\n"
PEM = '-----BEGIN "KEY"-----\nMIIC%n$HOME\\`\'\n\tend of the key\n-----END-----\n'
AWKWARD = (
    "", " ", "a b", '"', "'", "\\", "\\n", "$HOME", "${PATH}", "$$", "%n %% %H", "`id`", "#x", ";", "a=b=c", "\n", "a\nb\n", "\t",
    " padded ", "\n[Service]\nExecStart=/bin/false\n", "ünï \u2028 \U0001f916", "x" * 30000, "\\\n", 'end\\"', "*", "~",
)  # fmt: skip
DUMPS = (
    "import json, os, time; path = os.environ['LEKIWI_STATE'] + '/seen'\n"
    "open(path + '.new', 'w').write(json.dumps({n: v for n, v in os.environ.items() if n.startswith('V_')}))\n"
    "os.rename(path + '.new', path); time.sleep(1000)"
)


def test_any_value_arrives_as_it_was(machines: Machines, image: MachineImage) -> None:
    machine = prepared(machines("kiwi"))
    machine.boot()
    agent = Driven(machine)
    dice = random.Random(7)
    letters = "ab \"'\\$%`#;=\n\t{}()[]*?!&|<>~^é\U0001f916"
    values = [*AWKWARD, *("".join(dice.choices(letters, k=dice.randint(1, 40))) for _ in range(300))]
    given = {f"V_{number}": value for number, value in enumerate(values)}
    agent.running(agent.python("web", DUMPS, environment=given))
    seen = machine.path("/var/lib/private/lekiwi/state/web/seen")
    eventually("it wrote down what it got", seen.exists)
    assert json.loads(seen.read_text()) == given
    agent.do("stop_all")
    agent.leave()


@pytest.fixture
def robot(machines: Machines, lan: Lan, image: MachineImage) -> SmallRobot:
    machine = machines("kiwi", disk=("ext4", 400))
    for name, text in FIXED_UNITS.items():
        machine.write(f"/etc/systemd/system/{name}", text)
    for path, text in FIXED_PROGRAMS.items():
        machine.write(f"/{path}", text, mode=0o755)
    for name in ENABLED:
        link = machine.path(f"/etc/systemd/system/multi-user.target.wants/{name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/etc/systemd/system/{name}")
    return SmallRobot(machine, lan)


def want(robot: SmallRobot, revision: int, *, talks: bool = False, **values: str) -> DeploymentRef:
    """`talks`: the service and a hook of it print its secret."""
    from agent_server import web

    env = ("API_KEY", "PEM", "OWN")
    hooks = {HookKind.AFTER_START: Hook(run=("sh", "-c", "echo hooked $API_KEY"))} if talks else {}
    services = [web(port=PORT, health=CHECKS, content=str(revision), env=env, hooks=hooks)]
    services.append(web("plain", code="plain.py", port=PORT + 1, content="plain"))
    plain = SERVES.replace('("API_KEY", "PEM", "OWN")', "()")
    ref: DeploymentRef = robot.server.release(
        {"web.py": (TALKS if talks else "") + SERVES, "plain.py": plain, "number": str(revision)}, services
    )
    sealed = seal(values, robot.server.public_key)
    given = SealedVariables(environment="production", revision=revision, sealed=sealed, secrets=tuple(values))
    robot.server.want(ref, variables=given)
    return ref


def kept_for_boot(machine: Machine, ref: DeploymentRef) -> None:
    look = ["sh", "-c", "cat /etc/systemd/system/lekiwi-web-*.service"]
    eventually("it is kept for the boot", lambda: ref.id in machine.run(*look, check=False).stdout, within_s=30)


def moment(machine: Machine, unit: str, what: str) -> float:
    return int(machine.run("systemctl", "show", "-P", f"{what}TimestampMonotonic", unit).stdout) / 1e6


def test_a_robot_that_boots_without_network_or_agent_has_its_secrets_and_its_disk_has_none(robot: SmallRobot) -> None:
    machine = robot.machine
    machine.write("/etc/lekiwi/robot.env", "OWN=of the robot\n")
    ref = want(robot, 1, API_KEY="secret123", PEM=PEM)
    robot.server.healthy(ref, good=True, within_s=40)
    says = {"API_KEY": "secret123", "PEM": PEM, "OWN": "of the robot"}
    assert json.loads(robot.says()) == says
    kept_for_boot(machine, ref)
    machine.run("systemctl", "disable", "lekiwi-agent")
    machine.power_off()
    machine.boot(wait=False)
    machine.network_down()
    machine.wait_booted()
    eventually("the service is back", lambda: robot.says() != "", within_s=30)
    assert json.loads(robot.says()) == says
    assert machine.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"
    for value in ("secret123", "end of the key", "MIIC%n"):
        places = ["/etc", "/opt", "/var", "/usr/local", "/root", "/home", "/srv", "/tmp", "/boot"]
        assert machine.run("grep", "-rlF", "--exclude-dir=lekiwi-agent", value, *places, check=False).stdout == ""
    took = moment(machine, "lekiwi-variables", "ExecMainExit") - moment(machine, "lekiwi-variables", "ExecMainStart")
    units = machine.run(
        "sh", "-c", "cd /etc/systemd/system; ls lekiwi-web-*.service lekiwi-plain-*.service"
    ).stdout.split()
    begun = {unit.split("-")[1]: moment(machine, unit, "ExecMainStart") for unit in units}
    print(
        f"opening took {1000 * took:.0f} ms; the service without began {1000 * (begun['web'] - begun['plain']):.0f} ms sooner"
    )
    pid = machine.run(
        "systemctl", "show", "-P", "MainPID", next(unit for unit in units if "web" in unit)
    ).stdout.strip()

    machine.network_up()
    hellos = len(robot.server.hellos)
    machine.run("systemctl", "start", "lekiwi-agent")
    robot.server.until(lambda: len(robot.server.hellos) > hellos, "it is back", within_s=30)
    robot.server.healthy(ref, good=True, within_s=40)
    sealed = seal({"API_KEY": "another456", "PEM": PEM}, robot.server.public_key)
    newer = SealedVariables(environment="staging", revision=9, sealed=sealed, secrets=("API_KEY",))
    web_ = next(service for service in robot.server.reports[-1].services if service.name == "web")
    assert (web_.pid, web_.restarts) == (int(pid), 0)

    robot.server.want(ref, variables=newer)  # it moved: the service reads another value, also at the next boot
    eventually("it has the new value", lambda: "another456" in robot.says(), within_s=30)
    look = ["sh", "-c", "cat /etc/lekiwi/boot/current/sealed/*"]
    eventually("so will the boot", lambda: "staging" in machine.run(*look, check=False).stdout, within_s=30)


def test_what_leaves_the_robot_has_no_secret_and_a_boot_that_cannot_open_them_starts_the_others(
    robot: SmallRobot,
) -> None:
    machine = robot.machine
    ref = want(robot, 1, talks=True, API_KEY="secret123")
    robot.server.healthy(ref, good=True, within_s=40)
    shown = {"hooked ••••••", "my key is ••••••"}  # beside what systemd says
    robot.server.until(lambda: shown <= set(robot.server.texts("web")), "logged")
    assert "secret123" not in repr((robot.server.reports, robot.server.events, robot.server.logs))
    kept_for_boot(machine, ref)
    machine.run("systemctl", "disable", "lekiwi-agent")
    machine.run("sh", "-c", "tr 0-9 1-90 < /etc/lekiwi/robot.key > /k && cat /k > /etc/lekiwi/robot.key && rm /k")
    machine.power_off()
    machine.boot()
    said = machine.run("journalctl", "-b", "-u", "lekiwi-variables", "-o", "cat").stdout
    assert "sealed for another key than this robot's" in said
    assert "secret123" not in said
    active = machine.run(
        "systemctl", "list-units", "--plain", "--no-legend", "--state=running", "lekiwi-*-*.*.service"
    ).stdout
    assert "lekiwi-plain-" in active
    assert "lekiwi-web-" not in active
