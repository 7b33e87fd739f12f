"""Whether this agent looks after its own release. One process that does everything cannot replace itself, and loads nothing for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lekiwi_deploy.agent.control import Control
from lekiwi_deploy.agent.net.network import Network
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.wire.link import AgentState, AgentWanted


def begin(
    robot: Robot, network: Network, control: Control, *, halves: bool
) -> tuple[Callable[[AgentWanted | None], None], Awaitable[None]]:
    """Whom to tell what the server wants, and what to run meanwhile."""
    if not halves:
        robot.agent_state = AgentState(release=None)
        return _ignored, _nothing()
    from lekiwi_deploy.agent.self_update.updater import Updater

    updater = Updater(robot, network.content, linked=lambda: control.linked)
    return updater.want, updater.run()


def _ignored(wanted: AgentWanted | None) -> None:
    """The server knows from the reports that this agent cannot, and asks others."""


async def _nothing() -> None:
    return
