"""On a robot with systemd the relay is a unit of its own: it outlives the agent's unit, and has rights that fit it rather than the agent's.

It runs as nobody in particular and can do no more than carry connections; its socket belongs to systemd, which starts it when the agent
turns to it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.commands import run_command
from lekiwi_deploy.agent.traffic.relay_command import relay_command, relay_environment
from lekiwi_deploy.errors import Failed

UNIT = "lekiwi-relay"
_FIRST_SOCKET = 3  # sd_listen_fds(3)
_LONGEST_S = 30.0
SANDBOX = (
    "DynamicUser=yes",
    "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectProc=invisible",
    "ProcSubset=pid",
    "PrivateMounts=yes",
    "RemoveIPC=yes",
    "UMask=0077",
    "MemoryDenyWriteExecute=yes",
    "TasksMax=4",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "LimitNOFILE=524288",
    "OOMScoreAdjust=-500",
)
"""Lines of its unit."""


def has_systemd(paths: Paths) -> bool:
    """Whether this robot is a machine with systemd, which the agent may ask."""
    return (
        paths.root == Path("/")
        and os.geteuid() == 0
        and Path("/run/systemd/system").is_dir()
        and shutil.which("systemd-run") is not None
    )


async def start_unit(path: Path, helpers: set[int]) -> None:
    """Make the unit, with its socket at `path`. Raises `Failed`."""
    await stop_unit(helpers)  # of one whose process ended, the socket is left
    await _run(start_command(path), helpers)


async def stop_unit(helpers: set[int]) -> None:
    """Make sure that there is none. Raises `Failed`."""
    await _run(("systemctl", "stop", f"{UNIT}.socket", f"{UNIT}.service"), helpers, missing_is_fine=True)


def start_command(path: Path) -> tuple[str, ...]:
    """What makes the unit."""
    return (
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={UNIT}",
        "--description=LeKiwi Deploy: brings connections to services",
        f"--socket-property=ListenStream={path}",
        "--socket-property=SocketMode=0600",
        "--socket-property=RemoveOnStop=yes",
        *(f"--property={line}" for line in SANDBOX),
        *(f"--setenv={name}={value}" for name, value in relay_environment().items()),
        "--",
        *relay_command(_FIRST_SOCKET, path),
    )


async def _run(command: tuple[str, ...], helpers: set[int], *, missing_is_fine: bool = False) -> None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    wrong, lines = await run_command(command, Path("/"), environment, _LONGEST_S, helpers)
    if wrong is not None and not (missing_is_fine and all("not loaded" in line for line in lines)):
        raise Failed(f"the unit {UNIT} of the relay: {wrong}")
