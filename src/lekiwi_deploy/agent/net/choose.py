"""Who does the network for this agent: this process, or a net half."""

from __future__ import annotations

import os
import pwd

from lekiwi_deploy.agent.control import Control
from lekiwi_deploy.agent.net.network import Network
from lekiwi_deploy.agent.net.root_side import NetHalf
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.errors import NotFound

NET_USER = "lekiwi-agent"
"""The user of the net half on a robot of its own."""


def net_user(name: str | None) -> int:
    """The user id of the net half. `name`: a user's name or number; None: `NET_USER`, or whoever runs this when that is not root. Raises
    `NotFound`."""
    if name is None:
        if os.geteuid() != 0:
            return os.geteuid()
        name = NET_USER
    if name.isascii() and name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise NotFound(
            f"there is no user {name!r} on this machine to run the network half as",
            next=(
                f"useradd --system --shell /usr/sbin/nologin {name}",
                "lekiwi-agent run   # both halves in one process",
            ),
        ) from None


async def open_network(robot: Robot, control: Control, net_user: int | None) -> Network:
    """The network of this agent. `control` is told how it stands."""
    if net_user is None:
        from lekiwi_deploy.agent.net.direct import DirectNetwork

        return DirectNetwork(robot.paths, robot.config)

    def said(link: str, trouble: bool) -> None:
        control.linked, control.link = False, link
        if trouble:
            robot.history.trouble(link)

    half = NetHalf(robot.paths, net_user, said=said)
    await half.open()
    return half


async def close_network(network: Network) -> None:
    """Nothing more is asked of it."""
    if isinstance(network, NetHalf):
        await network.close()
