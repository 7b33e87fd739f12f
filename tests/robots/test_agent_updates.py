"""The agent of a real robot goes over to another release of itself, and back when that is broken; its services never notice."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from agent_releases import Bundle, bundle_of_this_checkout
from robots_world import Machines
from updating_robot import ECHO, Talk, UpdatingRobot

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.link import AgentPhase

RUN = "asyncio.run(_run(paths, leave_services, net_user))"
WITHIN_S = 60.0
"""What is promised: the release before is back."""


@pytest.fixture(scope="session")
def real() -> Bundle:
    return bundle_of_this_checkout("linux-x86_64-glibc2.36-py3.11")


@pytest.fixture(scope="session")
def bundle(real: Bundle) -> Bundle:
    """The same with less patience, so that a test need not wait for minutes. What is watched is told by the release before."""
    quick = real
    for name, before, after in (("BEGINS_S", 30, 12), ("SILENT_S", 15, 8), ("LINKS_S", 40, 12), ("STAYS_S", 45, 8)):
        quick = quick.changed("robot/agent_update.py", f"{name} = {before}.0", f"{name} = {after}.0")
    return quick


@pytest.fixture
def robot(machines: Machines, lan: Lan, bundle: Bundle) -> Iterator[UpdatingRobot]:
    robot = UpdatingRobot(machines("kiwi", disk=("ext4", 512)), lan, bundle)
    yield robot
    robot.server.stop()


def service(robot: UpdatingRobot) -> Talk:
    """Deploy a service that answers; a connection to it."""
    from agent_server import web

    ref = robot.server.release({"echo.py": ECHO}, [web("echo", port=7007, code="echo.py")])
    robot.server.want(ref)
    robot.server.healthy(ref, good=True, within_s=60)
    return Talk(robot.machine, 7007)


def test_both_halves_run_as_hardened_units(robot: UpdatingRobot) -> None:
    machine = robot.machine
    show = machine.run("systemctl", "show", "-p", "User,MainPID,ActiveState", "lekiwi-agent-net.service").stdout
    assert "User=lekiwi-agent" in show and "ActiveState=active" in show
    assert machine.run("stat", "-c", "%U %a", "/etc/lekiwi/robot.key").stdout == "lekiwi-agent 600\n"
    assert machine.run("stat", "-c", "%U %a", "/etc/lekiwi/update.key").stdout == "root 600\n"
    assert machine.run("stat", "-c", "%U %a", "/run/lekiwi/net.sock").stdout == "lekiwi-agent 600\n"
    pid = machine.run("systemctl", "show", "--value", "-p", "MainPID", "lekiwi-agent.service").stdout.strip()
    maps = machine.run("cat", f"/proc/{pid}/maps").stdout
    assert "_ssl" not in maps and "sodium" not in maps
    refused = machine.run(
        "python3", "-c", "import socket; socket.socket(socket.AF_UNIX).connect('/run/lekiwi/net.sock')",
        user="pi", check=False,
    )  # fmt: skip
    assert "PermissionError" in refused.stderr
    for unit, most in (("lekiwi-agent-net.service", 20), ("lekiwi-agent.service", 40)):
        machine.run("systemd-analyze", "security", f"--threshold={most}", unit)
    machine.run("systemctl", "kill", "--signal=KILL", "lekiwi-agent-net.service")
    links = len(robot.server.hellos)
    robot.server.until(lambda: len(robot.server.hellos) > links, "linked again")


def test_an_update_that_works_and_its_services_never_notice(robot: UpdatingRobot, bundle: Bundle) -> None:
    talk = service(robot)
    pids = robot.pids()
    other = bundle.changed("agent/__init__.py", '"""', '"""Another release. ')
    robot.want(other)
    robot.until_agent(other.release, AgentPhase.TRIAL)
    assert talk.says("during") == "during"
    robot.until_agent(other.release, AgentPhase.IDLE)
    assert talk.says("after") == "after"
    assert robot.pids() == pids
    assert robot.releases() == {bundle.release, other.release}
    robot.server.until(lambda: "agent_updated" in robot.kinds(), "it tells the story")
    assert robot.texts("agent_updating") == [f"agent updating {bundle.release} → {other.release}"]
    third = bundle.changed("agent/__init__.py", '"""', '"""A third release. ')
    robot.want(third)
    robot.until_agent(third.release, AgentPhase.IDLE)
    eventually("two are kept", lambda: robot.releases() == {other.release, third.release})
    assert talk.says("at last") == "at last"
    talk.end()


BROKEN = {
    "exits": ("agent/run.py", RUN, "raise SystemExit(1)"),
    "hangs": ("agent/run.py", RUN, "import time; time.sleep(1e6)"),
    "hangs-and-ignores-sigterm": (
        "agent/run.py",
        RUN,
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1e6)",
    ),
    "mute": (
        "agent/turning.py",
        "    turn = robot.next_turn()\n",
        "    import time; time.sleep(1e6)\n    turn = robot.next_turn()\n",
    ),
    "no-net-half": ("agent/net/run_net.py", "asyncio.run(_run(paths))", "raise SystemExit(1)"),
    "cannot-link": ("agent/net/direct.py", "socket = await opening", "raise LinkLost('broken')"),
}
"""File, what stands there, and what instead."""


@pytest.mark.parametrize("release", BROKEN)
def test_a_release_that_is_broken_is_left(robot: UpdatingRobot, bundle: Bundle, release: str) -> None:
    path, old, new = BROKEN[release]
    _is_left(robot, bundle, bundle.changed(path, old, new))


def _is_left(robot: UpdatingRobot, before: Bundle, broken: Bundle) -> None:
    """It is gone over to, left within a minute, told of, and the services never notice."""
    talk = service(robot)
    pids = robot.pids()
    robot.want(broken)
    eventually("it was gone over to", lambda: robot.current() == broken.release, within_s=60)
    began = time.monotonic()
    eventually("it is left", lambda: robot.current() == before.release, within_s=WITHIN_S)
    state = robot.until_agent(before.release, AgentPhase.REFUSED)
    took = time.monotonic() - began
    print(f"back after {took:.1f} s: {state.why}")
    assert took < WITHIN_S, robot.story()
    assert state.wanted == broken.release and state.why
    robot.server.until(lambda: "agent_went_back" in robot.kinds(), "it tells the story")
    assert talk.says("still here") == "still here"
    assert robot.pids() == pids
    talk.end()


@pytest.mark.parametrize("release", ["mute", "cannot-link"])
def test_with_all_its_patience_it_is_left_within_a_minute_too(
    machines: Machines, lan: Lan, real: Bundle, release: str
) -> None:
    path, old, new = BROKEN[release]
    robot = UpdatingRobot(machines("kiwi", disk=("ext4", 512)), lan, real)
    try:
        _is_left(robot, real, real.changed(path, old, new))
    finally:
        robot.server.stop()


def test_a_release_that_does_not_import_is_never_gone_over_to(robot: UpdatingRobot, bundle: Bundle) -> None:
    broken = bundle.changed("agent/run.py", "import asyncio\n", "import asyncio\nimport nothing_of_that_name\n")
    robot.want(broken)
    state = robot.until_agent(bundle.release, AgentPhase.REFUSED)
    assert "nothing_of_that_name" in state.why
    assert robot.texts("agent_updating") == []
    assert robot.current() == bundle.release


def test_the_power_fails_in_the_middle(robot: UpdatingRobot, bundle: Bundle) -> None:
    other = bundle.changed("agent/__init__.py", '"""', '"""Another release. ')
    robot.want(other)
    eventually("it was gone over to", lambda: robot.current() == other.release, within_s=60)
    robot.machine.pull_the_plug()
    robot.machine.boot()
    robot.until_agent(other.release, AgentPhase.IDLE, within_s=120)
    broken = bundle.changed("agent/run.py", RUN, "raise SystemExit(1)")
    robot.want(broken)
    eventually("it was gone over to", lambda: robot.current() == broken.release, within_s=60)
    robot.machine.pull_the_plug()
    robot.machine.boot(wait=False)
    eventually("it is left", lambda: robot.current() == other.release, within_s=WITHIN_S)
    robot.until_agent(other.release, AgentPhase.REFUSED)


def test_without_the_guard_the_launcher_goes_back_after_three_starts(robot: UpdatingRobot, bundle: Bundle) -> None:
    machine = robot.machine
    machine.run("systemctl", "mask", "--runtime", "lekiwi-agent-guard.service", check=False)
    machine.run("rm", "-f", "/etc/systemd/system/lekiwi-agent-guard.service")
    machine.run("systemctl", "daemon-reload")
    broken = bundle.changed("agent/run.py", RUN, "raise SystemExit(1)")
    machine.write("/srv/other.zip", broken.data)
    machine.run(
        "/opt/lekiwi/agent/current/bin/python",
        "-m",
        "lekiwi_deploy.agent.self_update.unpack_bundle",
        "/srv/other.zip",
        "/",
    )
    machine.run(
        "sh",
        "-c",
        f"cd /opt/lekiwi/agent && echo {bundle.release} {broken.release} 0 >unconfirmed && ln -sfn {broken.release} current",
    )
    machine.run("systemctl", "restart", "--no-block", "lekiwi-agent.service")
    eventually("it is left", lambda: robot.current() == bundle.release, within_s=WITHIN_S)
    links = len(robot.server.hellos)
    robot.server.until(lambda: len(robot.server.hellos) > links or robot.server.linked, "linked again", 30)


def test_a_robot_without_a_network_does_not_go_back_for_that(robot: UpdatingRobot, bundle: Bundle) -> None:
    other = bundle.changed("agent/__init__.py", '"""', '"""Another release. ')
    robot.want(other)
    eventually("it was gone over to", lambda: robot.current() == other.release, within_s=60)
    robot.machine.network_down()
    eventually(
        "the guard tried the server twice, in vain",
        lambda: robot.machine.journal("-u", "lekiwi-agent-guard").count("error: ") >= 2,
        within_s=90,
    )
    assert robot.current() == other.release
    robot.machine.network_up()
    robot.until_agent(other.release, AgentPhase.IDLE, within_s=120)


def test_nothing_is_installed_that_the_server_did_not_prove_to_want(robot: UpdatingRobot, bundle: Bundle) -> None:
    import msgspec

    other = bundle.changed("agent/__init__.py", '"""', '"""Another release. ')
    robot.want(other)
    robot.server.until(lambda: robot.agent and robot.agent.wanted == other.release, "it heard")
    robot.until_agent(other.release, AgentPhase.IDLE)
    third = bundle.changed("agent/__init__.py", '"""', '"""A third release. ')
    robot.want(third, attempt=99)
    forged = msgspec.structs.replace(robot.server.desired.agent, proof="0" * 64, attempt=100)
    robot.server.desired = msgspec.structs.replace(robot.server.desired, agent=forged)
    robot.server.send(robot.server.desired)
    robot.server.until(lambda: robot.agent and robot.agent.attempt == 100, "it heard")
    state = robot.agent
    assert state is not None and state.phase is AgentPhase.REFUSED and "proves" in state.why


def test_a_busy_robot_is_left_alone(robot: UpdatingRobot, bundle: Bundle) -> None:
    hold = robot.machine.run("lekiwi-agent", "hold", "--reason", "teleop", "--for", "20m", "--json").stdout
    other = bundle.changed("agent/__init__.py", '"""', '"""Another release. ')
    robot.want(other)
    state = robot.until_agent(bundle.release, AgentPhase.WAITING)
    assert "teleop" in state.why
    assert robot.releases() == {bundle.release, other.release}, "it is ready meanwhile"
    assert hold
    robot.machine.run("lekiwi-agent", "release", "--all")
    robot.until_agent(other.release, AgentPhase.IDLE)


def test_a_hung_agent_is_restarted(robot: UpdatingRobot) -> None:
    machine = robot.machine
    pid = machine.run("systemctl", "show", "--value", "-p", "MainPID", "lekiwi-agent.service").stdout.strip()
    links = len(robot.server.hellos)
    machine.run("kill", "-STOP", pid)
    robot.server.until(lambda: len(robot.server.hellos) > links, "restarted by the watchdog", 90)
