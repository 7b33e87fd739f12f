"""Defining groups of robots: each change settles which environment their robots belong to."""

from __future__ import annotations

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.fleet.membership import Chooser, selector_of
from lekiwi_deploy.fleet.undoing import GroupAgain
from lekiwi_deploy.server import membership
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.membership import Moved
from lekiwi_deploy.server.store import audit, groups, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.groups import GroupRow
from lekiwi_deploy.wire.environments import Group
from lekiwi_deploy.wire.ids import ProjectName, RobotId, checked_name


async def listed(tx: Transaction, project: ProjectName, *, moved: Moved | None = None) -> list[Group]:
    """Every group of the project, by name: defined ones, those that environments name, and those that robots carry as `group=<name>`."""
    await projects.check_exists(tx, project)
    defined = {row.name: row for row in await groups.listed(tx, project)}
    choosers = await groups.choosers(tx, project)
    robots = await groups.placed(tx, project)
    names = {*defined, *(name for one in choosers for name in one.groups)}
    names |= {robot.labels["group"] for robot in robots if robot.labels.get("group")}
    selectors = {name: row.selector for name, row in defined.items()}
    found = []
    for name in sorted(names):
        selector = selector_of(name, selectors)
        fitting = tuple(robot.id for robot in robots if selector.fits(robot.labels))
        found.append(_view(project, name, defined.get(name), choosers, fitting, moved or {}))
    return found


async def read(tx: Transaction, project: ProjectName, name: str, *, moved: Moved | None = None) -> Group:
    """One group. Raises `NotFound` naming those that there are."""
    every = await listed(tx, project, moved=moved)
    for group in every:
        if group.name == name:
            return group
    names = ", ".join(group.name for group in every) or "none yet"
    raise NotFound(
        f"project {project!r} has no group {name[:60]!r} (it has: {names})",
        next=(f'lekiwi groups set {name[:60]} "LABEL=VALUE"',),
    )


async def define(
    tx: Transaction, context: Context, project: ProjectName, by: str, name: str, selector: str, *, reason: str = ""
) -> Moved:
    """Defines the group, and settles who belongs where: who moved. Raises `BadInput` for a name or selector that cannot be read."""
    checked_name("a group", name)
    parse_selector(selector)
    await projects.check_exists(tx, project)
    await membership.begin(tx, project)
    before = (await groups.selectors(tx, project)).get(name)
    if not await groups.put(tx, project, name, selector, by, context.now()):
        return {}
    moved = await membership.settle(tx, project)
    await _record(tx, project, by, name, before, selector, moved, reason)
    return moved


async def remove(tx: Transaction, project: ProjectName, by: str, name: str, *, reason: str = "") -> Moved:
    """Nobody defines the group any more: it is the robots with its own label again. Who moved by that. Raises `NotFound`."""
    await membership.begin(tx, project)
    before = (await groups.selectors(tx, project)).get(name)
    if before is None:
        group = await read(tx, project, name)
        raise NotFound(f"nobody defined the group {name!r}: it is the robots with the label {group.selector}")
    await groups.remove(tx, project, name)
    moved = await membership.settle(tx, project)
    await _record(tx, project, by, name, before, None, moved, reason)
    return moved


async def _record(
    tx: Transaction,
    project: ProjectName,
    by: str,
    name: str,
    before: str | None,
    after: str | None,
    moved: Moved,
    reason: str,
) -> None:
    await audit.record(
        tx,
        by,
        "group.set" if after is not None else "group.remove",
        f"project/{project}/{name}",
        {"selector": after, "before": before, **membership.moved_detail(moved)},
        reason=reason,
        undo=GroupAgain(name=name, before=before, after=after),
    )


def _view(
    project: ProjectName,
    name: str,
    row: GroupRow | None,
    choosers: list[Chooser],
    fitting: tuple[RobotId, ...],
    moved: Moved,
) -> Group:
    return Group(
        name=name,
        project=project,
        selector=row.selector if row is not None else f"group={name}",
        defined=row is not None,
        environments=tuple(one.name for one in choosers if name in one.groups),
        robots=fitting,
        by=row.by_whom if row is not None else "",
        at=row.at if row is not None else None,
        moved=moved,
    )
