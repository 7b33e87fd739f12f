"""Which environment or robot a request means."""

from __future__ import annotations

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.server.store import projects, robots
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.api import Environment
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName


async def environment_meant(tx: Transaction, project: ProjectName, asked: str | None, command: str) -> Environment:
    """The environment `asked` for; None: the only one that has robots, else the only one at all.

    Raises `NotFound` (no such project or environment) and `BadInput` with the choices; `command` is what to paste them to.
    """
    if asked is not None:
        return await projects.environment(tx, project, asked)
    known = (await projects.read(tx, project)).environments
    choices = [one for one in known if one.robots > 0] or list(known)
    if len(choices) == 1:
        return choices[0]
    if not choices:
        raise BadInput(
            f"project {project!r} has no environment yet: add a robot to one",
            next=("lekiwi robots add NAME --group production",),
        )
    names = ", ".join(one.name for one in choices)
    raise BadInput(
        f"say which environment of {project!r}: {names}",
        next=tuple(f"{command} -e {one.name}" for one in choices),
        details={"environments": [one.name for one in choices]},
    )


async def robot_meant(tx: Transaction, name: str) -> RobotRow:
    """The robot of that name. Raises `NotFound`."""
    row = await robots.read(tx, name)
    if row is None:
        raise NotFound(f"there is no robot {name[:60]!r}", next=("lekiwi robots list",))
    return row


async def robot_of(tx: Transaction, project: ProjectName, environment: EnvironmentName | None, name: str) -> RobotRow:
    """The robot, if it belongs to the project (and environment, when one was named). Raises `NotFound`."""
    row = await robot_meant(tx, name)
    if row.project != project or (environment is not None and row.environment != environment):
        where = f"{project}/{environment}" if environment else project
        raise NotFound(f"robot {name!r} does not belong to {where}", next=("lekiwi robots list",))
    return row
