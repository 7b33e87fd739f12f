"""Who belongs where: settled in the transaction that changed a label, a group, a policy or a robot.

How a change is made: `begin` first (before any robot is written), then the change, then `settle`. What belongs where is decided in
`fleet.membership`; a leased robot is its preview's until the lease has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lekiwi_deploy.fleet.membership import Choice, Placed, labels_for, selector_of
from lekiwi_deploy.server.store import groups
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId

Moved = Mapping[RobotId, tuple[EnvironmentName, EnvironmentName]]
"""Robots that changed their environment: from, to."""

TOLD = 50
"""So many moved robots are named in a change's history; the rest are counted."""


async def begin(tx: Transaction, project: ProjectName) -> None:
    """Locks who belongs where in the project, and its environments, until the transaction ends. Before any robot is written."""
    await groups.lock_members(tx, project)


async def settle(tx: Transaction, project: ProjectName, names: Sequence[str] | None = None) -> Moved:
    """Puts every robot of the project (`names`: these) where it belongs, after something changed. Returns who was moved. A moved robot
    leaves the rollouts of where it was, and is a late joiner where it comes."""
    choice = await read_choice(tx, project)
    stand_ins = await _label_stand_ins(tx, project, choice) if names is None else []
    robots = await groups.placed(tx, project, names)
    settled = choice.settle(robots)
    before = {robot.id: robot.environment for robot in robots}
    await groups.set_unplaced(tx, project, settled.unplaced)
    await groups.move(tx, project, settled.moves)
    if stand_ins:
        await groups.remove_empty(tx, project, stand_ins)
    return {robot: (before[robot], to) for robot, to in settled.moves.items()}


async def _label_stand_ins(tx: Transaction, project: ProjectName, choice: Choice) -> list[EnvironmentName]:
    """Robots that were added to a group before any environment had it are in an environment of the group's name. Now that one has it, they get
    the group's labels, and so go there; what stood in for it is not needed any more."""
    named = {group for chooser in choice.choosers.values() for group in chooser.groups}
    found = await groups.stand_ins(tx, project, named) if named else []
    if found:
        known = await groups.selectors(tx, project)
        for name in found:
            await groups.label_all(tx, project, name, labels_for(selector_of(name, known)))
    return found


async def move(tx: Transaction, project: ProjectName, moves: Mapping[RobotId, EnvironmentName]) -> None:
    """Puts robots into environments as they are told, whatever their labels say: the caller sees to it that `settle` leaves them there."""
    await groups.move(tx, project, moves)


async def read_choice(tx: Transaction, project: ProjectName) -> Choice:
    """What the project's environments ask for."""
    return Choice(await groups.choosers(tx, project), await groups.selectors(tx, project))


async def why_there(tx: Transaction, project: ProjectName, robot: RobotId) -> str:
    """Why the robot is in its environment, in a sentence; empty when a person put it there and nothing else fits."""
    found = await groups.placed(tx, project, [robot])
    return told(await read_choice(tx, project), found[0]) if found else ""


def told(choice: Choice, robot: Placed) -> str:
    """`why_there`, of one that was read."""
    fits = choice.fitting(robot.labels)
    here = choice.choosers.get(robot.environment)
    if robot.leased:
        return f"a preview has leased it: {robot.environment}"
    if here is None or robot.environment not in fits:
        return ""
    others = [name for name in fits if name != robot.environment]
    if others:
        return (
            f"its labels fit {robot.environment} ({here.wanted}) and {', '.join(others)}: it stays where it was first"
        )
    return f"its labels fit {robot.environment}: {here.wanted}"


def moved_detail(moved: Moved) -> dict[str, object]:
    """What a change's history says of the robots that it moved; nothing when it moved none."""
    if not moved:
        return {}
    named = {robot: f"{one} -> {other}" for robot, (one, other) in sorted(moved.items())[:TOLD]}
    return {"moved": named, "moved_count": len(moved)}
