"""`lekiwi robots upgrade` against a real server and robots with systemd that have an older release of the agent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from adopting_world import PROJECT, AdoptingWorld, packages_for
from agent_releases import bundle_of_this_checkout
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.agents import AgentUpgrade, UpgradeRobotStatus, UpgradeStatus
from lekiwi_deploy.wire.api import RobotJoin, Robots


@pytest.fixture
def world(lan: Lan) -> Iterator[AdoptingWorld]:
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-upgrade-"))  # PostgreSQL's own user has to pass through
    world = AdoptingWorld(folder, lan)
    try:
        world.start(packages_for("3.11"))
        yield world
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)


def test_robots_go_over_to_the_servers_agent_one_after_the_other(machines: Machines, world: AdoptingWorld) -> None:
    older = bundle_of_this_checkout("linux-x86_64-glibc2.36-py3.11").changed(
        "agent/__init__.py", '"""', '"""An older release. '
    )
    fleet: dict[str, Machine] = {}
    for name in ("kiwi-1", "kiwi-2"):
        machine = fleet[name] = machines(name)
        machine.boot()
        machine.write("/srv/bundle.zip", older.data)
        added = world.lekiwi("robots", "add", name, "-p", PROJECT, "--group", "production", "--json").ok()
        line = ["python3", "-I", "/srv/bundle.zip", "--server", world.server.url, "--insecure-http", "--token", "-"]
        machine.run(*line, stdin=added.json(RobotJoin).token, within_s=180)
    world.lekiwi("api", "GET", "/agent").ok()  # the server knows what it gives

    def listed() -> Robots:
        return world.lekiwi("robots", "list", "-p", PROJECT, "--json").ok().json(Robots)

    def releases() -> set[str | None]:
        return {robot.agent_state.release if robot.agent_state else None for robot in listed().robots}

    eventually("both say what they have", lambda: releases() == {older.release})
    assert world.lekiwi("robots", "list", "-p", PROJECT).ok().out.count("behind") == 2
    pids = {name: _agent_pid(machine) for name, machine in fleet.items()}
    done = world.lekiwi("robots", "upgrade", "--all", "-p", PROJECT, "--json", "--timeout", "5m", within_s=320).ok()
    upgrade = done.json(AgentUpgrade)
    assert upgrade.status is UpgradeStatus.DONE
    assert {robot.status for robot in upgrade.robots} == {UpgradeRobotStatus.DONE}
    assert {robot.before for robot in upgrade.robots} == {older.release}
    assert releases() == {upgrade.release} == {listed().agent}
    assert all(_agent_pid(machine) != pids[name] for name, machine in fleet.items())
    assert "behind" not in world.lekiwi("robots", "list", "-p", PROJECT).ok().out
    asked = [line for line in done.err.splitlines() if "asked" in line or "done" in line]
    order = [line.split()[0] for line in asked]
    assert order.index("kiwi-2") > max(at for at, name in enumerate(order) if name == "kiwi-1"), asked


def _agent_pid(machine: Machine) -> str:
    return machine.run("systemctl", "show", "--value", "-p", "MainPID", "lekiwi-agent.service").stdout.strip()
