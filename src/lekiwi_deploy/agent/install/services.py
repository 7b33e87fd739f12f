"""The agent as a service of this machine: its units written, started, waited for, and taken away again."""

from __future__ import annotations

import time

from lekiwi_deploy.agent.ask import NoAgent, ask
from lekiwi_deploy.agent.config import AgentConfig
from lekiwi_deploy.agent.install import systemctl
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.self_update import own_units
from lekiwi_deploy.agent.self_update.units import NET_HALF, ROOT_HALF
from lekiwi_deploy.agent.supervisors.systemd import fixed_units
from lekiwi_deploy.errors import Failed, LekiwiError, TimedOut
from lekiwi_deploy.wire.local import RobotHere, StatusPlease

ENABLED = (ROOT_HALF, NET_HALF)
"""What starts at boot, and is started after an installation."""
LINKED_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.25


def write(paths: Paths) -> None:
    """Every fixed unit as this release has it; those that are so already are left alone."""
    own_units.write(paths)


def start() -> None:
    """Enabled for every boot, and running this release now. Services of deployments are not touched. Raises `Failed` with what the
    agent said last when it does not start."""
    systemctl.call("daemon-reload")
    systemctl.call("enable", "--quiet", *ENABLED, *fixed_units.ENABLED)
    systemctl.call("start", *fixed_units.ENABLED)
    for unit in ENABLED:
        try:
            systemctl.call("restart", unit)
        except Failed:
            raise _does_not_run(unit) from None


def stop() -> None:
    """The agent stops; what it runs goes on."""
    there = [unit for unit in ENABLED if systemctl.properties(unit, "LoadState").get("LoadState") == "loaded"]
    if there:
        systemctl.call("stop", *there)


def wait_until_linked(paths: Paths, config: AgentConfig, *, within_s: float = LINKED_WITHIN_S) -> RobotHere:
    """Until the agent is connected to its server. Raises `Failed` when it does not run, `TimedOut` when it has no link."""
    deadline = time.monotonic() + within_s
    said = "it has not said anything yet"
    while time.monotonic() < deadline:
        try:
            here = ask(paths, StatusPlease(), RobotHere, timeout_s=5)
            if here.linked:
                return here
            said = here.link
        except NoAgent:
            if systemctl.properties(ROOT_HALF, "ActiveState").get("ActiveState") == "failed":
                raise _does_not_run() from None
        except LekiwiError as error:
            said = error.message
        time.sleep(_LOOK_EVERY_S)
    if systemctl.properties(ROOT_HALF, "SubState").get("SubState") != "running":
        raise _does_not_run()
    raise TimedOut(
        f"the agent is installed and runs, but has no link to {config.server} after {within_s:.0f} s: {said}",
        next=("lekiwi-agent doctor", f"journalctl -u {ROOT_HALF}"),
    )


def _does_not_run(unit: str = ROOT_HALF) -> Failed:
    lines = "".join(f"\n  {line}" for line in systemctl.last_lines(unit))
    return Failed(f"the agent is installed, but {unit} does not run:{lines}", next=(f"journalctl -u {unit}",))
