"""A robot with systemd that is held, full and in the wrong year; and services in their sandboxes that say "not now" themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_of_machines import FleetOfMachines, fleet_of_machines

from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.testing.wrong_clock import WrongClock
from lekiwi_deploy.wire.api import Deployments
from lekiwi_deploy.wire.reasons import Busy, ClockWrong, LowDisk
from lekiwi_deploy.wire.why import Why

NAME = "lekiwi-002"
DROP_IN = """\
[Service]
Environment=LD_PRELOAD=/usr/local/lib/wrong_clock.so CLOCK_OFFSET=/etc/clock-offset
"""
YAML = """\
conditions: {disk_free: 100MB, clock: true}
services:
  web:
    run: [python, web.py]
    port: 8000
    files: [web.py]
    health: [{http: /, interval: 200ms}]
"""
WEB = """\
import http.server, os
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
ARM = """\
  arm:
    run: [python, arm.py]
    files: [arm.py]
"""
ARM_CODE = """\
import fcntl, json, os, socket, threading
desk = socket.socket(socket.AF_UNIX)
desk.connect(os.environ["LEKIWI_HOLD"])
desk.sendall(json.dumps({"ask": "hold", "reason": "arm is up", "tied": True}).encode() + b"\\n")
print(desk.makefile().readline(), flush=True)
busy = open(os.environ["LEKIWI_BUSY"])
fcntl.flock(busy, fcntl.LOCK_SH)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def fleet(image: MachineImage) -> Iterator[FleetOfMachines]:
    with fleet_of_machines(image, (NAME,), disk=("ext4", 1500)) as fleet:
        fleet.code.write({"lekiwi.yaml": YAML, "web.py": WEB})
        fleet.push("The first")
        runs_it(fleet)
        yield fleet


def why(fleet: FleetOfMachines) -> Why:
    found: Why = fleet.lekiwi("why", NAME, "--json").ok().json(Why)
    return found


def runs_it(fleet: FleetOfMachines) -> None:
    """Wait until the robot runs what was pushed last, healthy, and nothing holds it."""
    listed: Deployments = fleet.lekiwi("list", "--json").ok().json(Deployments)
    newest = listed.deployments[0].id

    def there() -> bool:
        found = why(fleet)
        return found.there and found.running == newest

    eventually(f"the robot runs {newest}", there, within_s=120)


def waits_for(fleet: FleetOfMachines, *kinds: type) -> Why:
    def there() -> Why | None:
        found = why(fleet)
        return found if [type(held.reason) for held in found.reasons] == list(kinds) else None

    return eventually(f"it waits for {kinds}", there, within_s=60)


def holds(fleet: FleetOfMachines) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.machines[0].run("lekiwi-agent", "holds", "--json").stdout)["holds"]
    return found


def test_why_names_the_hold_the_full_disk_and_the_wrong_clock_of_a_real_robot(
    fleet: FleetOfMachines, tmp_path: Path
) -> None:
    robot, clock = fleet.machines[0], WrongClock(tmp_path / "clock")
    robot.write("/usr/local/lib/wrong_clock.so", clock.library.read_bytes(), mode=0o755)
    robot.write("/etc/clock-offset", f"{-round(time.time())}\n")
    robot.write("/etc/systemd/system/lekiwi-agent.service.d/clock.conf", DROP_IN)
    before = robot.path("/opt/lekiwi/current").readlink().name
    robot.run("systemctl", "daemon-reload")
    robot.run("systemctl", "restart", "lekiwi-agent")
    eventually("the agent answers", lambda: holds(fleet) == [])
    robot.run(
        "runuser", "-u", "pi", "--", "lekiwi-agent", "hold", "--reason", "teleop", "--for", "20m", "--owner", "anna"
    )
    assert robot.disk is not None
    hog = robot.disk.fill(but_bytes=60_000_000)
    fleet.code.write({"web.py": WEB + "# busy\n"})
    fleet.push("While it is busy, full and in 1970")
    told = waits_for(fleet, Busy, LowDisk, ClockWrong)
    assert told.reasons[0].text.startswith("teleop: held by anna until")
    assert all(NAME in one.clears for one in told.reasons)
    assert robot.path("/opt/lekiwi/current").readlink().name == before
    hog.unlink()
    robot.run("sh", "-c", "echo 0 >/etc/clock-offset")
    waits_for(fleet, Busy)
    robot.run("systemctl", "kill", "-s", "KILL", "lekiwi-agent")
    waits_for(fleet, Busy)
    robot.run("runuser", "-u", "pi", "--", "lekiwi-agent", "release", "--all")
    runs_it(fleet)
    robot.path("/etc/systemd/system/lekiwi-agent.service.d/clock.conf").unlink()
    robot.run("systemctl", "daemon-reload")
    robot.run("systemctl", "restart", "lekiwi-agent")


def test_a_service_in_its_sandbox_holds_by_lease_and_by_lock_until_it_dies(fleet: FleetOfMachines) -> None:
    robot = fleet.machines[0]
    fleet.code.write({"lekiwi.yaml": YAML + ARM, "arm.py": ARM_CODE})
    fleet.push("An arm that says when it is up")
    runs_it(fleet)
    eventually("the arm holds twice", lambda: len(holds(fleet)) == 2)
    kinds = {one["kind"]: one for one in holds(fleet)}
    assert set(kinds) == {"tied", "lock"}
    assert kinds["tied"]["owner"] == "arm"
    assert str(kinds["lock"]["owner"]).startswith("arm (pid ")
    fleet.code.write({"arm.py": "import threading\nthreading.Event().wait()\n"})
    fleet.push("An arm that never is")
    waits_for(fleet, Busy, Busy)
    robot.run("systemctl", "kill", "-s", "KILL", f"lekiwi-{_instance(fleet)}.service")
    runs_it(fleet)
    assert holds(fleet) == []


def _instance(fleet: FleetOfMachines) -> str:
    units = fleet.machines[0].run("systemctl", "list-units", "--plain", "--no-legend", "lekiwi-arm-*").stdout
    return units.split()[0].removeprefix("lekiwi-").removesuffix(".service")
