"""A robot that is switched on: what was kept for boot runs, without network and without the agent."""

from __future__ import annotations

import pytest
from robots_world import Machines
from supervised_robot import Driven, prepared

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.waiting import eventually

WRITES = "import os,time; open(os.environ['LEKIWI_STATE']+'/log','a').write(os.environ['KEY']+'\\n'); time.sleep(1000)"


@pytest.fixture
def machine(machines: Machines, image: MachineImage) -> Machine:
    return prepared(machines("kiwi", disk=("ext4", 300)))


def written(machine: Machine, service: str) -> list[str]:
    return machine.run("cat", f"/var/lib/lekiwi/state/{service}/log", check=False).stdout.split()


def launch(service: str, key: str, **more: object) -> dict[str, object]:
    return {"service": service, "run": ["python3", "-c", WRITES], "environment": {"KEY": key}, **more}


def active(machine: Machine) -> list[str]:
    listed = machine.run(
        "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "lekiwi-*.*.service"
    ).stdout
    return sorted(line.split()[0].split(".")[0] for line in listed.splitlines())


def test_what_was_kept_runs_after_the_power_went_without_network_and_without_the_agent(machine: Machine) -> None:
    machine.boot()
    machine.run("sync")  # the installation was long ago
    agent = Driven(machine)
    kept = launch("base", "one", port=24003, lock="motors", deployment="dep_bbbbbbbb", fingerprint="b" * 64)
    agent.do("keep_for_boot", launches=[kept, launch("web", "two")])
    other = agent.start("eyes", ["sleep", "1000"])
    agent.running(other)
    machine.pull_the_plug()
    agent.kill()
    machine.write("/etc/systemd/system/lekiwi-agent.service", "[Service]\nExecStart=/bin/false\n")
    machine.boot(wait=False)
    machine.network_down()
    machine.wait_booted()
    assert machine.run("systemctl", "is-system-running", check=False).stdout.strip() == "running"
    eventually("both run", lambda: (written(machine, "base"), written(machine, "web")) == (["one"], ["two"]))
    assert active(machine) == ["lekiwi-base-bbbbbbbb", "lekiwi-web-aaaaaaaa"]
    assert machine.run("stat", "-c", "%a %u", "/run/lekiwi/env", "/run/lekiwi/locks").stdout.split() == ["700", "0"] * 2
    assert machine.run("stat", "-c", "%a", "/run/lekiwi").stdout.strip() == "755"

    agent = Driven(machine)
    found = agent.found
    assert set(found) == {"base-bbbbbbbb", "web-aaaaaaaa"}
    base = found["base-bbbbbbbb"]
    assert (base["port"], base["deployment"], base["state"], base["exits"]) == (24003, "dep_bbbbbbbb", "running", 0)
    machine.run("kill", "-9", str(base["pid"]))
    agent.do("forget", instance="web-aaaaaaaa")
    agent.do("stop", instance="web-aaaaaaaa")
    agent.until("'base-bbbbbbbb' not in seen")  # the test's agent has no use for it
    agent.do("keep_for_boot", launches=[])
    agent.leave()
    machine.power_off()
    machine.boot()
    assert active(machine) == []


def test_a_service_that_crashes_at_boot_comes_back_without_the_agent(machine: Machine) -> None:
    machine.boot()
    agent = Driven(machine)
    fails = (
        "import os, sys, time; path = os.environ['LEKIWI_STATE'] + '/log'; open(path, 'a').write('x\\n')\n"
        "if len(open(path).readlines()) < 2: sys.exit(1)\n"
        "time.sleep(1000)"
    )
    agent.do("keep_for_boot", launches=[{"service": "base", "run": ["python3", "-c", fails]}])
    agent.leave()
    machine.power_off()
    machine.boot()
    eventually("it was started twice", lambda: written(machine, "base") == ["x", "x"], within_s=30)
    agent = Driven(machine)
    assert agent.found["base-aaaaaaaa"]["exits"] == 1
    agent.do("stop_all")
    agent.leave()


def test_a_service_that_waits_for_hardware_does_not_hold_up_the_boot(machine: Machine) -> None:
    machine.boot()
    agent = Driven(machine)
    waits = {"service": "base", "run": ["sleep", "1000"], "notify": True}
    agent.do("keep_for_boot", launches=[waits])
    agent.leave()
    machine.power_off()
    machine.boot()
    assert machine.run("systemctl", "is-active", "multi-user.target").stdout.strip() == "active"
    agent = Driven(machine)
    found = agent.found["base-aaaaaaaa"]
    assert found["pid"] is not None
    assert not found["told"]["ready"]
    agent.do("stop_all")
    agent.leave()


def test_the_same_service_of_another_deployment_runs_although_the_boot_brought_its_first(machine: Machine) -> None:
    machine.boot()
    agent = Driven(machine)
    agent.do("keep_for_boot", launches=[launch("base", "one")])
    agent.leave()
    machine.power_off()
    machine.boot()
    agent = Driven(machine)
    agent.do("stop", instance="base-aaaaaaaa")
    instance = agent.start(**launch("base", "two", deployment="dep_cccccccc"))  # type: ignore[arg-type]
    pid = agent.running(instance)
    eventually("it runs as told", lambda: written(machine, "base")[-1:] == ["two"])
    assert machine.run("readlink", f"/proc/{pid}/cwd").stdout.strip() == "/opt/lekiwi/deployments/dep_cccccccc/code"
    agent.do("stop_all")
    agent.leave()


def test_what_ends_because_the_robot_is_switched_off_is_no_exit(machine: Machine) -> None:
    wait = "[Service]\nExecStop=/bin/sh -c 'while [ -e /run/hold ]; do sleep 0.1; done'\n"
    machine.write("/etc/systemd/system/dbus.service.d/late.conf", wait)  # so that the agent hears all of it
    machine.boot()
    machine.run("touch", "/run/hold")
    agent = Driven(machine)
    instance = agent.start("web", ["sleep", "1000"])
    pid = agent.running(instance)
    machine.run("systemctl", "--no-block", "poweroff")
    eventually("the service was stopped", lambda: not machine.path(f"/proc/{pid}").exists())
    machine.run("sleep", "1")
    seen = agent.do("seen")[instance]
    assert (seen["state"], seen["exits"]) == ("running", 0)
    assert agent.do("notes") == []
    machine.run("rm", "/run/hold")
    agent.kill()
