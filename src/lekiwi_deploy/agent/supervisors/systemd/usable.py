"""Whether this machine's services can be systemd's. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

from lekiwi_deploy.agent.paths import Paths

_BUS = "/run/dbus/system_bus_socket"


def why_not(paths: Paths) -> str | None:
    """Why services are run as plain processes here; None: systemd runs them."""
    if paths.root != Path("/"):
        return f"the robot's root is {paths.root}, and systemd knows one robot on a machine, at /"
    if not Path("/run/systemd/system").is_dir():
        return "systemd does not run on this machine"
    if os.geteuid() != 0:
        return "the agent does not run as root"
    if not Path(_BUS).exists():
        return f"there is no system bus ({_BUS}); install dbus"
    return None
