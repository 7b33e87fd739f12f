"""Where the agent's things are, below the robot's root folder (see ARCHITECTURE.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """`root` is `/` on a robot of its own, any folder where many robots live on one machine."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "etc/lekiwi/agent.json"

    @property
    def key(self) -> Path:
        return self.root / "etc/lekiwi/robot.key"

    @property
    def update_key(self) -> Path:
        """What proves that the server wants another release of the agent; root's alone."""
        return self.root / "etc/lekiwi/update.key"

    @property
    def agents(self) -> Path:
        """The agent's own releases."""
        return self.lekiwi / "agent"

    @property
    def variables(self) -> Path:
        return self.root / "etc/lekiwi/robot.env"

    @property
    def lekiwi(self) -> Path:
        return self.root / "opt/lekiwi"

    @property
    def deployments(self) -> Path:
        return self.lekiwi / "deployments"

    @property
    def current(self) -> Path:
        return self.lekiwi / "current"

    @property
    def objects(self) -> Path:
        return self.lekiwi / "objects"

    @property
    def agent(self) -> Path:
        return self.root / "var/lib/lekiwi-agent"

    @property
    def journal(self) -> Path:
        return self.agent / "journal.json"

    @property
    def spool(self) -> Path:
        return self.agent / "spool"

    @property
    def downloads(self) -> Path:
        return self.agent / "downloads"

    @property
    def processes(self) -> Path:
        return self.agent / "processes"

    @property
    def bin(self) -> Path:
        return self.agent / "bin"

    @property
    def state(self) -> Path:
        return self.root / "var/lib/lekiwi/state"

    @property
    def logs(self) -> Path:
        return self.root / "var/log/lekiwi"

    @property
    def run(self) -> Path:
        return self.root / "run/lekiwi"

    @property
    def socket(self) -> Path:
        return self.run / "agent.sock"

    @property
    def net_socket(self) -> Path:
        """Where the agent's net half meets its root half."""
        return self.run / "net.sock"

    @property
    def lock(self) -> Path:
        return self.run / "agent.lock"

    @property
    def busy(self) -> Path:
        """Whoever locks it holds a switch off (docs/robot-contract.md, "Not now")."""
        return self.run / "busy"

    @property
    def hold_socket(self) -> Path:
        """Where every user of the machine may say "not now"."""
        return self.run / "hold.sock"

    @property
    def holds(self) -> Path:
        return self.agent / "holds.json"

    @property
    def locks(self) -> Path:
        """One lock file for each exclusive hardware (docs/robot-contract.md)."""
        return self.run / "locks"

    @property
    def boot(self) -> Path:
        """What the machine starts at boot without the agent: forwarded ports, variables of services."""
        return self.root / "etc/lekiwi/boot"

    def make(self) -> None:
        """Make every folder that the agent writes to."""
        for folder in (self.deployments, self.objects, self.spool, self.downloads, self.processes, self.bin):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.state, self.logs, self.run, self.locks):
            folder.mkdir(parents=True, exist_ok=True)
