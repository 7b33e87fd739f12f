"""A real agent in two processes, for tests: one without network, one with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

from agent_robot import AgentRobot


class HalvesRobot(AgentRobot):
    """As `AgentRobot`, whose `process` is the root half; `net` is the other one. Both run as the user of the test."""

    net: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **environment: str) -> None:
        self.start_root(*arguments, **environment)
        self.start_net()

    def start_root(self, *arguments: str, **environment: str) -> None:
        """The root half alone."""
        super().start("--halves", "--net-user", str(os.getuid()), *arguments, **environment)

    def start_net(self) -> None:
        """The net half, unless it runs."""
        if self.net is not None and self.net.poll() is None:
            return
        with self.output.with_suffix(".net.log").open("ab") as output:
            self.net = subprocess.Popen(
                [sys.executable, "-m", "lekiwi_deploy.agent", "net", "--root", str(self.root)],
                stdout=output,
                stderr=output,
                env=self.environment(),
            )

    def kill_net(self) -> None:
        """SIGKILL to the net half."""
        assert self.net is not None
        self.net.kill()
        self.net.wait(10)

    def end(self) -> None:
        if self.net is not None and self.net.poll() is None:
            self.kill_net()
        super().end()
