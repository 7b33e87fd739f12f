"""A robot whose services are run by the systemd supervisor, driven by a test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from lekiwi_deploy.agent.supervisors.systemd.fixed_units import ENABLED, FIXED_PROGRAMS, FIXED_UNITS
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import PLACE, install_agent

_DRIVER = Path(__file__).with_name("systemd_driver.py")


class Driven:
    """The supervisor, as it runs on the robot. Every method is an order; `Driven.Failed` says what was wrong."""

    class Failed(Exception):
        """The order was not carried out."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.found: dict[str, Any] = {}
        """What it found when it began."""
        self.begin()

    def begin(self) -> None:
        """A new agent, once the one before has ended."""
        command = ["env", f"PYTHONPATH={PLACE}", "PYTHONDONTWRITEBYTECODE=1", "python3", "/opt/driver.py"]
        self._process = subprocess.Popen(
            self._machine.command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.found = self._answer()

    def start(self, service: str, run: list[str], **more: Any) -> str:
        instance: str = self._do("start", launch={"service": service, "run": run, **more})
        return instance

    def python(self, service: str, code: str, **more: Any) -> str:
        return self.start(service, ["python3", "-uc", code], **more)

    def until(self, expression: str, within_s: float = 20.0) -> dict[str, Any]:
        seen: dict[str, Any] = self._do("until", expression=expression, within_s=within_s)
        return seen

    def running(self, instance: str) -> int:
        """Its process id, once it has one."""
        pid: int = self.until(f"seen['{instance}'].pid and seen['{instance}'].state == 'running'")[instance]["pid"]
        return pid

    def said(self, text: str, within_s: float = 20.0) -> None:
        """Once such a line was written."""
        self.until(f"any({text!r} in line['text'] for line in lines())", within_s)

    def do(self, order: str, **more: Any) -> Any:
        return self._do(order, **more)

    def leave(self) -> None:
        """The agent ends in order; services go on."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._hang_up()

    def kill(self) -> None:
        """The agent dies."""
        for pid in _family(self._process.pid):
            os.kill(pid, signal.SIGKILL)
        self._process.wait(20)
        self._hang_up()

    def _hang_up(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _do(self, order: str, **more: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": order, **more}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Driven.Failed("the supervisor's process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise Driven.Failed(json.dumps(answer, indent=1))
        return answer["answer"]


def prepared(machine: Machine) -> Machine:
    """With what an installation puts there; not booted yet."""
    install_agent(machine, service=False)
    machine.write("/opt/driver.py", _DRIVER.read_text())
    machine.write("/etc/lekiwi/robot.key", "secret", mode=0o600)
    machine.write("/etc/lekiwi/agent.json", "{}")
    for name, text in FIXED_UNITS.items():
        machine.write(f"/etc/systemd/system/{name}", text)
    for name, text in FIXED_PROGRAMS.items():
        machine.write(f"/{name}", text, mode=0o755)
    for name in ENABLED:
        link = machine.path(f"/etc/systemd/system/multi-user.target.wants/{name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/etc/systemd/system/{name}")
    return machine


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found
