"""The units around the services, the same on every robot. Whoever installs the agent writes them to /etc/systemd/system.

At boot: `lekiwi.target` wants what `boot.py` keeps. Before that starts, `lekiwi-boot.service` brings variables and locks to /run,
`lekiwi-variables.service` opens those that lie sealed on the disk, if there are any, and `lekiwi-traffic.service` loads the forwarded ports.
None of it waits for a network, or for the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lekiwi_deploy.agent.supervisors.systemd import boot_guard
from lekiwi_deploy.agent.supervisors.systemd.places import BOOT, SLICE, TARGET, TRAFFIC, VARIABLES

_SET = "/etc/lekiwi/boot/current"

_TARGET = f"""\
[Unit]
Description=LeKiwi Deploy: the services of this robot
Documentation=man:systemd.special(7)
DefaultDependencies=no
Wants={BOOT} {TRAFFIC} {VARIABLES} {boot_guard.COUNT}
After=basic.target
Conflicts=shutdown.target
Before=shutdown.target

[Install]
WantedBy=multi-user.target
"""
"""Without default dependencies, which would make the end of the boot wait for every service: one may wait for its hardware."""

_BOOT = f"""\
[Unit]
Description=LeKiwi Deploy: variables and locks of the services
ConditionPathExists={_SET}/run
DefaultDependencies=no
After=local-fs.target
Before=lekiwi-agent.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/cp -a {_SET}/run/. /run/lekiwi
"""

_TRAFFIC = f"""\
[Unit]
Description=LeKiwi Deploy: forwarded ports of the services
ConditionPathExists={_SET}/traffic.nft
DefaultDependencies=no
After=local-fs.target nftables.service
Before=lekiwi-agent.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {_SET}/traffic.nft
"""
"""After the machine's own rules, which usually begin by flushing all there is."""

_VARIABLES = f"""\
[Unit]
Description=LeKiwi Deploy: variables that are kept sealed
ConditionDirectoryNotEmpty={_SET}/sealed
DefaultDependencies=no
After=local-fs.target {BOOT}
Before=lekiwi-agent.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/bin/lekiwi-agent open-variables
TimeoutStartSec=60
UMask=0077
LimitCORE=0
"""
"""Only services that declare such a variable wait for it."""

_SLICE = """\
[Unit]
Description=LeKiwi Deploy: the services of this robot
Before=slices.target
"""

FIXED_UNITS: Mapping[str, str] = MappingProxyType(
    {TARGET: _TARGET, BOOT: _BOOT, TRAFFIC: _TRAFFIC, VARIABLES: _VARIABLES, SLICE: _SLICE, **boot_guard.UNITS}
)
"""Name of the file in /etc/systemd/system → its text."""
FIXED_PROGRAMS = boot_guard.PROGRAMS
"""Path below the root → text of what systemd runs for them."""
ENABLED = (TARGET,)
"""What is to be enabled (`systemctl enable`); the others come with it."""
