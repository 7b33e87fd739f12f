"""A robot on this machine: a folder that stands for its `/`, and the real agent on it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from lekiwi_deploy.testing.http import body_of
from lekiwi_deploy.testing.person import Person, Ran
from lekiwi_deploy.testing.programs import (
    HERE,
    Installation,
    Program,
    clean_environment,
    end_all_below,
    processes_below,
)
from lekiwi_deploy.testing.waiting import eventually
from lekiwi_deploy.wire.api import RobotJoin


class LocalRobot:
    """`lekiwi-agent` with `--root ROOT`. `port_offset` is added to the ports of its services, so that many live on one machine."""

    def __init__(self, name: str, root: Path, *, port_offset: int = 0, at: Installation = HERE) -> None:
        self.name = name
        self.root = root
        self.port_offset = port_offset
        self._at = at
        self._program: Program | None = None

    @property
    def output(self) -> Path:
        """What its agent wrote."""
        return self.root.with_name(f"{self.root.name}.log")

    @property
    def program(self) -> Program:
        """The agent's process."""
        assert self._program is not None, "not started"
        return self._program

    @property
    def environment(self) -> dict[str, str]:
        """What the agent and the commands on the robot run with."""
        return clean_environment(HOME=str(self.root))

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """The robot's own variables, as its owner would write them into etc/lekiwi/robot.env."""
        path = self.root / "etc/lekiwi/robot.env"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def add_and_join(self, person: Person, project: str, *, group: str = "production") -> None:
        """`lekiwi robots add` by a person, then `lekiwi-agent join` on the robot."""
        added = person.lekiwi("robots", "add", self.name, "--group", group, "-p", project, "--json").ok()
        self.join(person.environment["LEKIWI_API"], added.json(RobotJoin).token)

    def join(self, api: str, token: str) -> None:
        """`lekiwi-agent join`; raises `AssertionError` with its words when it fails."""
        offset = ("--port-offset", str(self.port_offset)) if self.port_offset else ()
        self.command("join", api, "--token", token, *offset).ok()

    def command(self, *arguments: str, within_s: float = 60.0) -> Ran:
        """`lekiwi-agent ARGUMENTS --root ROOT`, as somebody on the robot would type it."""
        self.root.mkdir(parents=True, exist_ok=True)
        hands = Person(self.root.with_name(f"{self.root.name}.home"), "", "", at=self._at)
        hands.environment = self.environment
        return hands.run(self._at.agent, *arguments, "--root", str(self.root), within_s=within_s)

    def start(self, **more: str) -> None:
        """Start the agent, with `more` variables; does not wait for its link."""
        self._program = Program(
            [self._at.agent, "run", "--root", str(self.root)],
            environment={**self.environment, **more},
            output=self.output,
        )

    def start_elsewhere(self, boot_id: str) -> None:
        """Start the agent as on another machine: its kernel's boot id reads `boot_id` (Linux, in a mount namespace of its own)."""
        file = self.root.with_name(f"{self.root.name}.boot_id")
        file.write_text(boot_id + "\n")
        script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"'
        namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        self._program = Program(
            [*namespace, "sh", "-c", script, "sh", str(file), self._at.agent, "run", "--root", str(self.root)],
            environment=self.environment,
            output=self.output,
        )

    def kill(self) -> None:
        """SIGKILL to the agent alone."""
        self.program.kill()

    def power_cut(self) -> None:
        """SIGKILL to the agent and everything that runs on the robot."""
        self.kill()
        end_all_below(self.root)

    def stop(self) -> int:
        """SIGTERM to the agent. Gives its exit code."""
        return self.program.end()

    def end(self) -> None:
        """End the agent and whatever it left running."""
        if self._program is not None:
            self._program.end()
        end_all_below(self.root)

    def current(self) -> str | None:
        """The id of the deployment that `current` names."""
        try:
            return (self.root / "opt/lekiwi/current").readlink().name
        except FileNotFoundError:
            return None

    def services(self) -> list[int]:
        """Ids of the processes that run out of its slots."""
        return processes_below(self.root / "opt/lekiwi/deployments")

    def get(self, port: int, path: str = "/") -> str:
        """What the service on `port` (before the robot's offset) answers, with status 200; "" while nobody does."""
        return body_of(port + self.port_offset, path) or ""

    def serves(self, text: str, *, port: int, path: str = "/", within_s: float = 30.0) -> None:
        """Wait until the answer contains `text`."""
        eventually(f"{self.name} serves {text!r}", lambda: text in self.get(port, path), within_s=within_s)

    def metadata(self, deployment: str) -> dict[str, object]:
        """A slot's metadata.json."""
        data: dict[str, object] = json.loads(
            (self.root / "opt/lekiwi/deployments" / deployment / "metadata.json").read_text()
        )
        return data
