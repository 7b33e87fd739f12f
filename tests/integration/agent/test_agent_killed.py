"""The agent dies at every place where it could, and the next one converges."""

from __future__ import annotations

import signal

import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import TrialPolicy
from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=3.0),)


WITH_SERVICES = (
    *("fetch.before", "fetch.after", "stage.before_lay_out", "stage.after_lay_out", "stage.before_journal"),
    *(
        "stage.after_journal",
        "switch.before_journal",
        "switch.after_journal",
        "switch.before_link",
        "switch.after_link",
    ),
    *("switch.before_start", "switch.after_start", "service.after_spawn", "service.record"),
    *("switch.before_lead", "switch.after_lead"),
    *("trial.before_healthy", "trial.after_healthy", "trial.after_good"),
)
"""The steps of a switch. All failpoints are swept, without services, in tests/integration/faults."""


@pytest.mark.parametrize("name", WITH_SERVICES)
def test_killed_anywhere_it_converges(server: AgentServer, robot: AgentRobot, name: str) -> None:
    port = free_port()
    first = server.release({"web.py": web_code("one"), "a": "1"}, [web(port=port, content="1", health=QUICKLY)])
    second = server.release({"web.py": web_code("two"), "a": "2"}, [web(port=port, content="2", health=QUICKLY)])
    robot.start()
    server.want(first)
    server.healthy(first, good=True)
    if name.startswith("stage.") and name.endswith("lay_out"):  # an older one is laid out again
        for ref in (second, server.release({"a": "3"}, [])):
            server.want(ref)
            server.healthy(ref, good=True)
        second = first
        eventually("its tree is gone", lambda: not (robot.root / f"opt/lekiwi/deployments/{first.id}/code").exists())
        text = "one"
    else:
        text = "two"
    before = {path.name for path in (robot.root / "opt/lekiwi/deployments").iterdir()}
    robot.kill()
    robot.start(LEKIWI_FAILPOINT=name)
    server.until(lambda: server.linked, "it is back")
    server.want(second, policy=TrialPolicy(trial_s=0.2))
    assert robot.died() == -signal.SIGKILL
    current = robot.current()
    assert current is not None
    slot = robot.root / "opt/lekiwi/deployments" / current
    assert (slot / "metadata.json").exists() and (slot / "code/a").exists()
    left = {path.name for path in (robot.root / "opt/lekiwi/deployments").iterdir()} - before - {second.id}
    assert len(left) <= 1 and all(name.startswith(".tmp-") for name in left)
    robot.start()
    server.healthy(second, good=True)
    assert (body(port), robot.current()) == (text, second.id)
    eventually("one version runs", lambda: len(robot.awake()) == 1)
    assert len(robot.processes()) <= 2  # and the one before is kept warm


ON_THE_WAY_BACK = (
    *("switch.before_journal", "switch.after_journal", "switch.after_link", "switch.before_lead", "switch.after_lead"),
    *("trial.before_healthy", "trial.after_healthy", "trial.after_good"),
)


@pytest.mark.parametrize("name", ON_THE_WAY_BACK)
def test_killed_anywhere_on_the_way_back_to_a_warm_version_it_converges(
    server: AgentServer, robot: AgentRobot, name: str
) -> None:
    port = free_port()
    first, second = (
        server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY)])
        for text in ("one", "two")
    )
    robot.start()
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    server.want(second)
    server.healthy(second, good=True)
    eventually("the one before is paused", lambda: len(robot.awake()) == 1)
    robot.kill()
    assert body(port) == "two"
    robot.start(LEKIWI_FAILPOINT=name)
    server.until(lambda: server.linked, "it is back")
    server.want(first)
    assert robot.died() == -signal.SIGKILL
    assert body(port) in ("one", "two")  # somebody always serves
    robot.start()
    report = server.healthy(first, good=True)
    assert (body(port), robot.current(), report.services[0].pid) == ("one", first.id, pid)
    eventually("only one version runs", lambda: len(robot.awake()) == 1)


def test_services_outlive_the_agent_and_are_taken_over(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=QUICKLY)])
    server.want(ref)
    pid = server.healthy(ref, good=True).services[0].pid
    robot.kill()
    assert body(port) == "one"
    robot.start()
    server.until(lambda: len(server.hellos) == 2, "it is back")
    report = server.healthy(ref)
    assert report.services[0].pid == pid
    assert report.number > server.hellos[0].report.number
    # what was taken over is watched: its end is noticed, and it is started again
    import os

    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.until(lambda: server.healthy(ref).services[0].pid != pid, "it was started again")


def test_a_service_that_died_while_no_agent_ran_is_started(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=QUICKLY)])
    server.want(ref)
    server.healthy(ref, good=True)
    robot.end()
    assert body(port) is None
    robot.start()
    server.until(lambda: len(server.hellos) == 2, "it is back")
    server.healthy(ref)
    assert body(port) == "one"


def test_a_damaged_journal_costs_no_service(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=QUICKLY)])
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    robot.kill()
    path = robot.root / "var/lib/lekiwi-agent/journal.json"
    path.write_bytes(path.read_bytes()[:100])
    robot.start()
    server.until(lambda: len(server.hellos) == 2, "it is back")
    report = server.healthy(first)
    assert report.services[0].pid == pid
    server.until(lambda: [e for e in server.events.values() if "is damaged" in e.text], "it says so")
    second = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    server.want(second)
    server.healthy(second)


def test_sigterm_stops_services_unless_they_are_to_be_left(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start("--leave-services")
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=QUICKLY)])
    server.want(ref)
    server.healthy(ref, good=True)
    assert robot.stop() == 0
    assert body(port) == "one"
    robot.start()
    server.until(lambda: len(server.hellos) == 2, "it is back")
    server.healthy(ref)
    assert robot.stop() == 0
    assert (body(port), robot.processes()) == (None, [])
