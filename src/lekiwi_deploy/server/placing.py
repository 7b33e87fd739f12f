"""Putting robots into environments: new ones, ones that people move or label, and ones that are drained. A robot of an environment that chooses
its robots gets the labels that put it there."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.errors import BadInput, Blocked, Conflict, NotFound
from lekiwi_deploy.fleet import selectors
from lekiwi_deploy.fleet.labels import Selector, parse_selector
from lekiwi_deploy.fleet.membership import Chooser, labels_for, selector_of
from lekiwi_deploy.fleet.undoing import DrainAgain, LabelsAgain, PlaceAgain
from lekiwi_deploy.server import membership
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.membership import Moved
from lekiwi_deploy.server.store import audit, groups, policies, projects, robots, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.targeting import robot_meant
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, checked_name

MAX_LABELS = 50
GROUP = "group"
"""The label of groups that nobody defined."""

Ask = tuple[str, Selector]
"""What an environment asks for, in words and as a selector."""


async def place_for(
    tx: Transaction, context: Context, project: ProjectName, wanted: str, labels: Mapping[str, str]
) -> tuple[EnvironmentName, dict[str, str], bool]:
    """Where a robot goes that is to be in `wanted` (an environment, the group of exactly one, or the name of a new one), with which labels, and
    whether that environment was made for it. `membership.begin` comes before. Raises `BadInput`."""
    known = {row.name: row for row in await policies.listed(tx, project)}
    selectors_by_name = await groups.selectors(tx, project)
    choosers = {one.name: one for one in await groups.choosers(tx, project)}
    name = EnvironmentName(wanted)
    if name in known:
        return name, _with_labels(choosers[name], _asks(choosers[name], selectors_by_name), labels), False
    having = [one for one in choosers.values() if wanted in one.groups and not known[one.name].preview]
    if len(having) == 1:
        asked = (f"group {wanted}", selector_of(wanted, selectors_by_name))
        return having[0].name, _with_labels(having[0], [asked], labels), False
    if having:
        names = [one.name for one in having]
        raise BadInput(
            f"robots of the group {wanted} may belong to {' or '.join(names)}: say which",
            next=tuple(f"lekiwi robots add NAME --group {one}" for one in names),
        )
    if wanted in selectors_by_name:
        raise BadInput(
            f"no environment has the robots of group {wanted!r}",
            next=(f"lekiwi environments create NAME --group {wanted}",),
        )
    name = checked_environment(wanted)
    await projects.ensure_environment(tx, project, name, context.now())
    return name, dict(labels), True


async def check_place(tx: Transaction, project: ProjectName, name: str, wanted: EnvironmentName) -> None:
    """Raises `BadInput` when the labels of a robot that was just put into `wanted` put it into another environment."""
    await membership.settle(tx, project, [name])
    row = await robot_meant(tx, name)
    if row.environment != wanted:
        chooser = next(one for one in await groups.choosers(tx, project) if one.name == row.environment)
        raise BadInput(
            f"the labels of {name} put it into {row.environment}, which has every robot of {chooser.wanted}: it cannot be in {wanted}",
            next=(f"lekiwi robots tag {name} NAME-", f"lekiwi environments show {row.environment}"),
        )


async def label(
    tx: Transaction, row: RobotRow, labels: Mapping[str, str | None], by: str, *, reason: str = ""
) -> Moved:
    """Sets labels of a robot (None removes one), and puts it where it belongs then. Who moved. Raises `BadInput`."""
    await membership.begin(tx, row.project)
    row = await robot_meant(tx, row.name)
    kept = {**row.labels, **labels}
    if sum(value is not None for value in kept.values()) > MAX_LABELS:
        raise BadInput(f"a robot may have at most {MAX_LABELS} labels")
    await robots.set_labels(tx, row.name, labels)
    moved = await membership.settle(tx, row.project, [row.name])
    before = {name: row.labels.get(name) for name in labels}
    await audit.record(
        tx,
        by,
        "robot.label",
        f"project/{row.project}/{row.environment}/{row.name}",
        {"labels": dict(labels), **membership.moved_detail(moved)},
        reason=reason,
        undo=LabelsAgain(robot=row.name, before=before, after=dict(labels)) if before != dict(labels) else None,
    )
    await tx.notify("rollout", f"{row.project}/{row.environment}")
    return moved


async def move(tx: Transaction, row: RobotRow, wanted: str, by: str, *, reason: str = "") -> bool:
    """Puts a robot into another environment of its project, with the labels that belong there; whether it was elsewhere. It leaves the rollouts
    of where it was. Raises `NotFound`, `Conflict` (a preview has it) and `BadInput` (its labels put it somewhere else)."""
    await membership.begin(tx, row.project)
    row = await robot_meant(tx, row.name)
    (placed,) = await groups.placed(tx, row.project, [row.name])
    if placed.leased:
        raise Conflict(
            f"{row.name} is leased to the preview {row.environment}",
            next=(f"lekiwi preview rm {row.environment}", f"lekiwi robots move {row.name} {wanted}"),
        )
    target = await policies.read(tx, row.project, wanted)
    if target is None:
        await projects.environment(tx, row.project, wanted)
        raise NotFound(f"project {row.project!r} has no environment {wanted!r}")
    if target.preview:
        raise Blocked(f"{wanted} is a preview: it gets its robots by itself", next=("lekiwi preview list",))
    if target.name == row.environment and row.unplaced is None:
        return False
    labels = await _labels_to_move(tx, row, target.name)
    if labels:
        await robots.set_labels(tx, row.name, labels)
    if target.name != row.environment:
        await membership.move(tx, row.project, {row.name: target.name})
    await check_place(tx, row.project, row.name, target.name)
    detail: dict[str, object] = {"from": row.environment, "to": target.name}
    await audit.record(
        tx,
        by,
        "robot.move",
        f"project/{row.project}/{target.name}/{row.name}",
        {**detail, "labels": labels} if labels else detail,
        reason=reason,
        undo=PlaceAgain(robot=row.name, before=row.environment, after=target.name),
    )
    return True


async def drain(tx: Transaction, context: Context, row: RobotRow, by: str, why: str) -> bool:
    """Takes a robot out of deployments: it keeps what it runs, and what it was given and has not taken yet is withdrawn. Whether it was in."""
    if row.drained_at is not None:
        return False
    await rollouts.lock_environment(tx, row.project, row.environment)
    await groups.withdraw(tx, [row.name])
    await robots.drain(tx, row.name, by, context.now(), why)
    await _record_drain(tx, row, by, drained=True, why=why)
    return True


async def undrain(tx: Transaction, row: RobotRow, by: str, *, reason: str = "") -> bool:
    """Lets a robot take part in deployments again; whether it was drained."""
    if row.drained_at is None:
        return False
    await robots.undrain(tx, row.name)
    await _record_drain(tx, row, by, drained=False, why=reason)
    return True


async def _record_drain(tx: Transaction, row: RobotRow, by: str, *, drained: bool, why: str) -> None:
    kept = why if drained else row.drained_why or ""
    await audit.record(
        tx,
        by,
        "robot.drain" if drained else "robot.undrain",
        f"project/{row.project}/{row.environment}/{row.name}",
        reason=why,
        undo=DrainAgain(robot=row.name, drained=drained, why=kept),
    )


def checked_environment(name: str) -> EnvironmentName:
    """`name`, if it may name an environment. Raises `BadInput`."""
    checked_name("an environment", name)
    parsed = selectors.parse(name)
    plain = isinstance(parsed, selectors.Word) and not any(
        isinstance(reading, selectors.Commit | selectors.Time) for reading in parsed.readings
    )
    if not plain:
        raise BadInput(f"{name!r} cannot name an environment: it would be read as a version, commit or time")
    return EnvironmentName(name)


def _asks(chooser: Chooser, known: Mapping[str, str]) -> list[Ask]:
    asked = [(f"group {name}", selector_of(name, known)) for name in chooser.groups]
    return asked + ([(chooser.select, parse_selector(chooser.select))] if chooser.select is not None else [])


def _with_labels(chooser: Chooser, asked: list[Ask], labels: Mapping[str, str]) -> dict[str, str]:
    """`labels` with those that make the robot fit. Raises `BadInput` when only a person can say which."""
    if not asked or any(selector.fits(labels) for _, selector in asked):
        return dict(labels)
    if len(asked) == 1:
        given = {**labels_for(asked[0][1]), **labels}
        if asked[0][1].fits(given):
            return given
    raise BadInput(
        f"{chooser.name} has the robots of {', or '.join(text for text, _ in asked)}: give it labels that fit",
        next=("lekiwi robots add NAME --group GROUP --tag NAME=VALUE", f"lekiwi environments show {chooser.name}"),
    )


async def _labels_to_move(tx: Transaction, row: RobotRow, to: EnvironmentName) -> dict[str, str | None]:
    """What is to change of the robot's labels so that it fits there, and no longer where only its group's own label had put it."""
    known = await groups.selectors(tx, row.project)
    choosers = {one.name: one for one in await groups.choosers(tx, row.project)}
    labels = dict(row.labels)
    group = labels.get(GROUP)
    here = choosers[row.environment]
    changes: dict[str, str | None] = {}
    if group is not None and group in here.groups and group not in known and group not in choosers[to].groups:
        del labels[GROUP]
        changes[GROUP] = None
    asked = _asks(choosers[to], known)
    if asked and not any(selector.fits(labels) for _, selector in asked) and len(asked) == 1:
        labels = {**labels, **labels_for(asked[0][1])}
    wanted = _with_labels(choosers[to], asked, labels)
    changes.update({key: value for key, value in wanted.items() if row.labels.get(key) != value})
    return {key: value for key, value in changes.items() if value != row.labels.get(key)}
