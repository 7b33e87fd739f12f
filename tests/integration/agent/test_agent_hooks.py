"""Hooks of services in a real switch: when they run, and what a failure of each means."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.link import DeploymentRef, TrialPolicy
from lekiwi_deploy.wire.manifest import Hook, HookKind, HttpCheck, ProcessCheck, Service

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=5.0),)
LONG = TrialPolicy(trial_s=30.0)


class Diary:
    """Hooks write into one file what they are and of which version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def hooks(self, *kinds: HookKind, failing: HookKind | None = None) -> dict[HookKind, Hook]:
        line = f'echo "$LEKIWI_VERSION $LEKIWI_HOOK $LEKIWI_PREVIOUS_DEPLOYMENT" >> {self.path}'
        return {
            kind: Hook(run=("sh", "-c", f"{line}; echo no good; exit 3" if kind is failing else line)) for kind in kinds
        }

    def lines(self) -> list[str]:
        return [line.strip() for line in self.path.read_text().splitlines()]


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


def release(server: AgentServer, port: int, text: str, hooks: dict[HookKind, Hook]) -> DeploymentRef:
    return server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY, hooks=hooks)])


def test_hooks_run_once_each_and_in_order(server: AgentServer, robot: AgentRobot, diary: Diary) -> None:
    port = free_port()
    hooks = diary.hooks(HookKind.PREPARE, HookKind.AFTER_START)
    robot.start()
    first, second = release(server, port, "one", hooks), release(server, port, "two", hooks)
    server.want(first)
    server.healthy(first, good=True)
    assert diary.lines() == [f"{first.version} prepare", f"{first.version} after_start"]
    server.want(second)
    server.healthy(second, good=True)
    assert diary.lines()[2:] == [f"{second.version} prepare {first.id}", f"{second.version} after_start {first.id}"]
    server.want(first)  # it is kept warm: nothing is started
    server.healthy(first, good=True)
    assert (body(port), len(diary.lines())) == ("one", 4)


def test_a_failed_prepare_fails_the_deployment_and_touches_nothing(
    server: AgentServer, robot: AgentRobot, diary: Diary
) -> None:
    port = free_port()
    robot.start()
    first = release(server, port, "one", {})
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    second = release(server, port, "two", diary.hooks(HookKind.PREPARE, failing=HookKind.PREPARE))
    server.want(second)
    report = server.outcome(second, "rolled_back")
    assert report.outcome is not None
    assert report.outcome.why == f"web: prepare failed: {' '.join(hook_of(diary))[:80]} exited with code 3: no good"
    assert (server.healthy(first).services[0].pid, body(port)) == (pid, "one")
    assert len(robot.processes()) == 1


def hook_of(diary: Diary) -> tuple[str, ...]:
    return diary.hooks(HookKind.PREPARE, failing=HookKind.PREPARE)[HookKind.PREPARE].run


def test_a_failed_after_start_is_a_failed_trial_before_anybody_saw_it(
    server: AgentServer, robot: AgentRobot, diary: Diary
) -> None:
    port = free_port()
    robot.start()
    first = release(server, port, "one", {})
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    kinds = (HookKind.AFTER_START, HookKind.ON_ROLLBACK)
    second = release(server, port, "two", diary.hooks(*kinds, failing=HookKind.AFTER_START))
    server.want(second)
    report = server.outcome(second, "rolled_back")
    assert report.outcome is not None and "after_start failed" in (report.outcome.why or "")
    assert (server.healthy(first).services[0].pid, body(port)) == (pid, "one")
    eventually(
        "what failed cleared up after itself",
        lambda: (
            diary.lines() == [f"{second.version} after_start {first.id}", f"{second.version} on_rollback {first.id}"]
        ),
    )


def test_before_stop_runs_while_the_old_process_is_still_there(
    server: AgentServer, robot: AgentRobot, diary: Diary
) -> None:
    park = Hook(run=("sh", "-c", f"ps ax | grep -c '[s]leep 4711' >> {diary.path}"))

    def arm(content: str) -> Service:
        return Service(
            name="arm",
            run=("sleep", "4711"),
            content=content * 64,
            exclusive="arm",
            health=(ProcessCheck(settle_s=0.0),),
            hooks={HookKind.BEFORE_STOP: park},
        )

    robot.start()
    first, second = server.release({"a": "1"}, [arm("a")]), server.release({"a": "2"}, [arm("b")])
    server.want(first)
    server.healthy(first, good=True)
    server.want(second)
    server.healthy(second, good=True)
    assert diary.lines() == ["1"]


def test_an_agent_that_dies_in_a_hook_runs_it_again(server: AgentServer, robot: AgentRobot, diary: Diary) -> None:
    port = free_port()
    first = release(server, port, "one", diary.hooks(HookKind.PREPARE))
    robot.start(LEKIWI_FAILPOINT="hook.after")
    server.until(lambda: server.linked, "it is there")
    server.want(first)
    assert robot.died() == -signal.SIGKILL
    robot.start()
    server.healthy(first, good=True)
    assert diary.lines() == [f"{first.version} prepare"] * 2
