"""Hooks of services, around the switches of a real agent."""

from __future__ import annotations

from pathlib import Path

from agent_robot import AgentRobot, eventually
from agent_server import AgentServer

from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import Hook, HookKind, ProcessCheck, Service

RUNS = "import time\ntime.sleep(1000)\n"


class Arm:
    """Releases of a service whose hooks write down that they ran."""

    def __init__(self, server: AgentServer, folder: Path) -> None:
        self.server, self.book, self.count = server, folder / "book", 0

    def release(self, code: str = RUNS, **failing: str) -> DeploymentRef:
        """`failing`: a hook's kind and what it does after it wrote its line."""
        self.count += 1
        hooks = {kind: self._hook(failing.get(kind.value, "true")) for kind in HookKind}
        service = Service(
            name="arm", run=("python3", "-u", "arm.py"), content=str(self.count) * 64, health=(ProcessCheck(settle_s=1.0),),
            stop_grace_s=0.5, hooks=hooks,
        )  # fmt: skip
        return self.server.release({"arm.py": code}, [service])

    def _hook(self, then: str) -> Hook:
        line = f'echo "$LEKIWI_HOOK $LEKIWI_DEPLOYMENT ${{LEKIWI_PREVIOUS_DEPLOYMENT:--}}" >> {self.book}; {then}'
        return Hook(run=("/bin/sh", "-c", line), timeout_s=5.0)

    def lines(self) -> list[str]:
        """What ran, in order; forgotten afterwards."""
        text = self.book.read_text() if self.book.exists() else ""
        self.book.unlink(missing_ok=True)
        return text.splitlines()


def test_hooks_run_around_a_switch_once_each_and_in_order(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    arm = Arm(server, tmp_path)
    robot.start()
    first = arm.release()
    server.want(first)
    server.healthy(first, good=True)
    assert arm.lines() == [f"prepare {first.id} -", f"after_start {first.id} -"]
    second = arm.release(prepare="echo migrated 3 maps")
    server.want(second)
    server.healthy(second, good=True)
    assert arm.lines() == [
        f"prepare {second.id} {first.id}",
        f"before_stop {first.id} -",
        f"after_start {second.id} {first.id}",
    ]
    server.until(lambda: "migrated 3 maps" in server.texts("arm"), "what a hook writes is in the service's log")


def test_a_hook_that_fails_before_the_switch_leaves_the_old_process_alone(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    arm = Arm(server, tmp_path)
    robot.start()
    first = arm.release()
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    arm.lines()
    second = arm.release(prepare="echo no calibration; exit 3")
    server.want(second)
    report = server.outcome(second, "rolled_back")
    assert report.outcome is not None and report.outcome.why is not None
    assert report.outcome.why.startswith("arm: prepare failed: /bin/sh -c")
    assert report.outcome.why.endswith("exited with code 3: no calibration")
    assert server.healthy(first).services[0].pid == pid
    assert report.quarantined == (second.id,)
    eventually("what failed is told to tidy up", lambda: f"on_rollback {second.id} {first.id}" in arm.book.read_text())
    assert not any(line.startswith("before_stop") for line in arm.lines())


def test_a_hook_that_fails_after_the_start_takes_the_robot_back(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    arm = Arm(server, tmp_path)
    robot.start()
    first = arm.release()
    server.want(first)
    server.healthy(first, good=True)
    arm.lines()
    second = arm.release(after_start="sleep 100")  # longer than it may take
    server.want(second)
    report = server.outcome(second, "rolled_back")
    assert report.outcome is not None and "arm: after_start failed" in (report.outcome.why or "")
    assert "took longer than 5 s" in (report.outcome.why or "")
    server.healthy(first, good=True)
    lines = arm.lines()
    assert lines == [
        f"prepare {second.id} {first.id}",
        f"before_stop {first.id} -",
        f"after_start {second.id} {first.id}",
        f"before_stop {second.id} -",
        f"on_rollback {second.id} {first.id}",
    ]


def test_a_hook_that_ended_is_not_run_again_by_the_next_agent(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    arm = Arm(server, tmp_path)
    robot.start()
    first = arm.release(after_start="sleep 1")
    server.want(first)
    eventually("it was prepared", lambda: arm.book.exists() and "after_start" in arm.book.read_text())
    robot.kill()
    robot.start()
    server.healthy(first, good=True)
    lines = arm.lines()
    assert lines.count(f"prepare {first.id} -") == 1  # ended, and written down
    assert 1 <= lines.count(f"after_start {first.id} -") <= 2  # interrupted: once more, unless it had just ended
