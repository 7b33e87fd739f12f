"""With `strict`, the checks of every service count as long as a trial lasts: also those of a process that was there all the time."""

from __future__ import annotations

import pytest
from agent_robot import AgentRobot, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.agent import machine
from lekiwi_deploy.wire.link import DeploymentRef, TrialPolicy
from lekiwi_deploy.wire.manifest import HttpCheck

STRICT = TrialPolicy(checks="strict", trial_s=0.5)
WITHIN_S = 0.5


@pytest.fixture
def port() -> int:
    return free_port()


def release(server: AgentServer, port: int, text: str, *, path: str = "/", code: str | None = None) -> DeploymentRef:
    check = HttpCheck(path=path, interval_s=0.1, within_s=WITHIN_S)
    service = web(port=port, content=text, health=(check,), drain_s=1.0)
    return server.release({"web.py": web_code(text) if code is None else code}, [service])


def old_enough(of: DeploymentRef) -> None:
    """Its process is there for longer than a new one has time to answer."""
    until = machine.boottime() + 1.5 * WITHIN_S
    eventually(f"{of.id} is there for long", lambda: machine.boottime() > until)


def go(server: AgentServer, ref: DeploymentRef) -> None:
    server.want(ref, policy=STRICT)
    server.healthy(ref, good=True)


def test_a_version_that_was_woken_long_ago_is_what_the_robot_stays_with_when_the_next_one_fails(
    server: AgentServer, robot: AgentRobot, port: int
) -> None:
    robot.start()
    one, two = release(server, port, "one"), release(server, port, "two")
    go(server, one)
    go(server, two)
    go(server, one)  # woken, not started
    old_enough(one)
    bad = release(server, port, "bad", code="raise SystemExit('no such hardware')")
    server.want(bad, policy=STRICT)
    server.outcome(bad, "rolled_back")
    report = server.healthy(one, good=True)
    assert report.outcome is not None and "did not come back" not in (report.outcome.why or "")


def test_a_process_that_was_there_for_long_gets_its_time_when_it_is_asked_something_else(
    server: AgentServer, robot: AgentRobot, port: int
) -> None:
    robot.start()
    one = release(server, port, "same")
    go(server, one)
    pid = server.reports[-1].services[0].pid
    old_enough(one)
    asked = release(server, port, "same", path="/health")
    go(server, asked)
    assert server.reports[-1].services[0].pid == pid, "it was not started again"
