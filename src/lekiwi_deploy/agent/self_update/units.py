"""The units that the agent itself runs as, and what each may do.

The root half has what it takes to write units, carry out switches and keep the robot's files, and no address but loopback; it is root,
and whoever is root and may talk to systemd can do anything: its sandbox is against accidents and against becoming a way out onto the
network. The net half has nothing but the network and the robot's key. `before-start` belongs to no release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

ROOT_HALF = "lekiwi-agent.service"
NET_HALF = "lekiwi-agent-net.service"
GUARD = "lekiwi-agent-guard.service"
AGENTS = "/opt/lekiwi/agent"
NET_USER = "lekiwi-agent"
_PROGRAM = f"{AGENTS}/current/bin/lekiwi-agent"

_BOTH = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    "SystemCallArchitectures=native",
    "DevicePolicy=closed",
    "LimitCORE=0",
)
"""No core files: the root half has opened variables in its memory, the net half the robot's key."""
_RIGHTS = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETUID CAP_SETGID"
"""Of root: the files of every service and of the net half, signals to services, commands as their users."""
_FOLDERS = "/opt/lekiwi /etc/lekiwi /etc/systemd/system /run/lekiwi /run/systemd/system"
"""What it writes besides /var/lib/lekiwi, /var/lib/lekiwi-agent and /var/log/lekiwi."""

ROOT_HALF_UNIT = (
    ("Unit",
     "Description=LeKiwi Deploy: runs on this robot what it is to run",
     "After=local-fs.target dbus.service",
     f"Wants={NET_HALF} {GUARD}",
     "StartLimitIntervalSec=0"),
    ("Service",
     "Type=notify",
     f"ExecStartPre=-/bin/sh {AGENTS}/before-start",
     f"ExecStart={_PROGRAM} run --halves --leave-services",
     "Restart=always",
     "RestartSec=1",
     "TimeoutStartSec=90",
     "WatchdogSec=30",
     "KillMode=process",
     "OOMScoreAdjust=-800",
     "UMask=0022",
     "RuntimeDirectory=lekiwi",
     "RuntimeDirectoryPreserve=yes",
     "StateDirectory=lekiwi lekiwi-agent",
     "LogsDirectory=lekiwi",
     *_BOTH,
     f"ReadWritePaths={_FOLDERS}",
     f"CapabilityBoundingSet={_RIGHTS} CAP_NET_ADMIN CAP_SYS_PTRACE",
     "ProtectKernelTunables=yes",
     "SystemCallFilter=@system-service",
     "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
     "IPAddressDeny=any",
     "IPAddressAllow=localhost",
     "DeviceAllow=/dev/vcio rw"),
    ("Install", "WantedBy=multi-user.target"),
)  # fmt: skip
"""Sections and their lines. CAP_NET_ADMIN: forwarded ports and connection tracking. CAP_SYS_PTRACE: who listens on a port. /dev/vcio: what
a Raspberry Pi says of its power supply."""

NET_HALF_UNIT = (
    ("Unit",
     "Description=LeKiwi Deploy: this robot's link to its server",
     "After=network.target nss-lookup.target",
     "StartLimitIntervalSec=0"),
    ("Service",
     "Type=notify",
     f"ExecStart={_PROGRAM} net",
     f"User={NET_USER}",
     f"Group={NET_USER}",
     "Restart=always",
     "RestartSec=1",
     "TimeoutStartSec=60",
     "WatchdogSec=60",
     "UMask=0077",
     "MemoryMax=192M",
     "TasksMax=32",
     *_BOTH,
     "CapabilityBoundingSet=",
     "AmbientCapabilities=",
     "PrivateDevices=yes",
     "PrivateMounts=yes",
     "ProtectKernelTunables=yes",
     "ProtectProc=invisible",
     "ProcSubset=pid",
     "RemoveIPC=yes",
     "SystemCallFilter=@system-service",
     "SystemCallFilter=~@privileged @resources",
     "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
     "InaccessiblePaths=-/opt/lekiwi/deployments -/opt/lekiwi/objects -/var/lib/lekiwi -/var/lib/lekiwi-agent -/var/log/lekiwi"),
    ("Install", "WantedBy=multi-user.target"),
)  # fmt: skip

GUARD_UNIT = (
    ("Unit",
     "Description=LeKiwi Deploy: watches a new release of the agent, and goes back",
     f"ConditionPathExists={AGENTS}/unconfirmed",
     "After=local-fs.target dbus.service",
     "StartLimitIntervalSec=0"),
    ("Service",
     "Type=exec",
     f"ExecStart={AGENTS}/previous/bin/lekiwi-agent guard",
     "Restart=on-failure",
     "RestartSec=2",
     "UMask=0022",
     *_BOTH,
     f"ReadWritePaths={AGENTS} /var/lib/lekiwi-agent",
     f"CapabilityBoundingSet={_RIGHTS}",
     "ProtectKernelTunables=yes",
     "PrivateDevices=yes",
     "SystemCallFilter=@system-service",
     "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"),
)  # fmt: skip
"""Its addresses are for the net half of the release before, which it asks whether the server can be reached, as the net half's user."""

BEFORE_START = f"""\
#!/bin/sh
# Run by systemd before each start of the agent. It belongs to no release, so that it works whatever a release does:
# it counts the starts of a release that is on trial, and goes back to the one before after three.
cd "${{1:-{AGENTS}}}" || exit 0
[ -f unconfirmed ] && read -r old new starts <unconfirmed || exit 0
[ "$(readlink current)" = "$new" ] && [ -d "$old" ] || exit 0
case $starts in '' | *[!0-9]*) starts=0 ;; esac
if [ "$starts" -lt 3 ]; then
  echo "$old $new $((starts + 1))" >.unconfirmed.new && sync .unconfirmed.new && mv -f .unconfirmed.new unconfirmed && sync .
  exit 0
fi
echo "$new was started $starts times and was never found in order" >.went-back.new
sync .went-back.new && mv -f .went-back.new went-back
ln -sfn "$old" .current.new && mv -fT .current.new current && rm -f unconfirmed && sync .
"""
"""`/opt/lekiwi/agent/before-start`."""


def _text(sections: Sequence[Sequence[str]]) -> str:
    return "\n".join("\n".join((f"[{name}]", *lines, "")) for name, *lines in sections)


UNITS: Mapping[str, str] = MappingProxyType(
    {ROOT_HALF: _text(ROOT_HALF_UNIT), NET_HALF: _text(NET_HALF_UNIT), GUARD: _text(GUARD_UNIT)}
)
"""Name of the file in /etc/systemd/system -> its text. The first two are enabled; the guard is started by the first."""
