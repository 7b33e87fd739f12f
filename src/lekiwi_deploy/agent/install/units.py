"""The units that are the same on every robot, as they stand in /etc/systemd/system."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

AGENT = "lekiwi-agent.service"
NET = "lekiwi-agent-net.service"
_AGENT = """\
[Unit]
Description=LeKiwi Deploy agent: runs this robot's services
Documentation=man:systemd.service(5)
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/lekiwi-agent run --halves --leave-services
Restart=always
RestartSec=1s
TimeoutStopSec=30s
KillMode=process
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""
_NET = """\
[Unit]
Description=LeKiwi Deploy agent: this robot's link to its server
StartLimitIntervalSec=0

[Service]
Type=notify
User=lekiwi-agent
ExecStart=/usr/local/bin/lekiwi-agent net
Restart=always
RestartSec=1s
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""
UNITS: Mapping[str, str] = MappingProxyType({AGENT: _AGENT, NET: _NET})
"""File name → text."""
ENABLED = (AGENT, NET)
"""What starts at boot, and is started after an installation; the first one is the one to ask."""
