"""Robots: add, list, look at, label, let go on, remove."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post

from lekiwi_deploy import __version__
from lekiwi_deploy.errors import BadInput, Conflict
from lekiwi_deploy.fleet.undoing import RobotAgain, RobotGone
from lekiwi_deploy.server import membership, placing
from lekiwi_deploy.server.auth import new_token, token_digest
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.asked_url import url_as_asked
from lekiwi_deploy.server.http.reasons import checked_reason
from lekiwi_deploy.server.store import audit, join_tokens, projects, robots, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.server.targeting import robot_meant
from lekiwi_deploy.server.views import robot_view
from lekiwi_deploy.wire.api import Identity, NewRobot, Robot, RobotJoin, RobotPatch, Robots, Role
from lekiwi_deploy.wire.environments import DrainRobot, MoveRobot
from lekiwi_deploy.wire.ids import ProjectName, RobotId, checked_name

JOIN_LASTS = timedelta(minutes=15)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}\Z")


@get("/api/robots")
async def list_robots(context: Context, project: str | None = None, environment: str | None = None) -> Robots:
    """Robots by name, of a project and environment, or all."""
    async with context.database.transaction() as tx:
        if project is not None:
            await projects.read(tx, project)
        rows = await robots.listed(tx, project, environment)
    given = context.agent_bundles.known
    return Robots(
        robots=tuple(robot_view(row) for row in rows),
        agent=given.release if given is not None else None,
        agent_version=__version__,
    )


@get("/api/robots/{robot:str}")
async def show_robot(context: Context, robot: str) -> Robot:
    """One robot, with what it waits for."""
    async with context.database.transaction() as tx:
        return await _shown(tx, robot)


@post("/api/projects/{project:str}/robots", role=Role.DEPLOYER, status_code=201)
async def add_robot(
    context: Context, request: Request[Any, Any, Any], identity: Identity, project: str, data: NewRobot
) -> RobotJoin:
    """Adds a robot to a group, which is made if need be; the answer holds the line to run on the robot."""
    name = RobotId(checked_name("a robot", data.name))
    labels = _checked_labels(data.labels)
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        await membership.begin(tx, ProjectName(project))
        group, labels, made = await placing.place_for(tx, context, ProjectName(project), data.group, labels)
        if not await robots.insert(tx, name, project, group, labels, context.now()):
            there = await robot_meant(tx, name)
            raise Conflict(
                f"there is a robot {name!r} already, in {there.project}/{there.environment}",
                next=(f"lekiwi robots rejoin {name}", f"lekiwi robots rm {name}"),
            )
        await placing.check_place(tx, ProjectName(project), name, group)
        detail = {"labels": dict(labels), "made_environment": made}
        where = f"project/{project}/{group}/{name}"
        await audit.record(tx, identity.name, "robot.add", where, detail, undo=RobotGone(robot=name))
        return await _join_line(tx, context, request, identity, await robot_meant(tx, name))


@post("/api/robots/{robot:str}/join-token", role=Role.DEPLOYER, status_code=201)
async def new_join_token(
    context: Context, request: Request[Any, Any, Any], identity: Identity, robot: str
) -> RobotJoin:
    """Another line to run on the robot: the first was not used in time, or its machine is replaced."""
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        await audit.record(tx, identity.name, "robot.rejoin", f"project/{row.project}/{row.environment}/{row.name}")
        return await _join_line(tx, context, request, identity, row)


@patch("/api/robots/{robot:str}", role=Role.DEPLOYER)
async def label_robot(context: Context, identity: Identity, robot: str, data: RobotPatch) -> Robot:
    """Sets and removes labels."""
    _checked_labels(data.labels)
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        await placing.label(tx, row, data.labels, identity.name)
        return await _shown(tx, robot)


@post("/api/robots/{robot:str}/move", role=Role.DEPLOYER, status_code=200)
async def move_robot(context: Context, identity: Identity, robot: str, data: MoveRobot) -> Robot:
    """Puts a robot into another environment of its project."""
    checked_reason(data.reason)
    async with context.database.transaction() as tx:
        await placing.move(tx, await robot_meant(tx, robot), data.environment, identity.name, reason=data.reason)
        return await _shown(tx, robot)


@post("/api/robots/{robot:str}/drain", role=Role.DEPLOYER, status_code=200)
async def drain_robot(context: Context, identity: Identity, robot: str, data: DrainRobot) -> Robot:
    """Takes a robot out of deployments; it keeps what it runs."""
    checked_reason(data.reason)
    async with context.database.transaction() as tx:
        await placing.drain(tx, context, await robot_meant(tx, robot), identity.name, data.reason)
        return await _shown(tx, robot)


@post("/api/robots/{robot:str}/undrain", role=Role.DEPLOYER, status_code=200)
async def undrain_robot(context: Context, identity: Identity, robot: str, data: DrainRobot) -> Robot:
    """Lets a robot take part in deployments again."""
    checked_reason(data.reason)
    async with context.database.transaction() as tx:
        await placing.undrain(tx, await robot_meant(tx, robot), identity.name, reason=data.reason)
        return await _shown(tx, robot)


@delete("/api/robots/{robot:str}", role=Role.DEPLOYER, status_code=204)
async def remove_robot(context: Context, identity: Identity, robot: str) -> None:
    """Forgets a robot: its key is refused from now on, its link closed at once. What it runs goes on running."""
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        await robots.delete(tx, row.name)
        await audit.record(tx, identity.name, "robot.remove", f"project/{row.project}/{row.environment}/{row.name}")


@post("/api/robots/{robot:str}/resume", role=Role.DEPLOYER, status_code=200)
async def resume_robot(context: Context, identity: Identity, robot: str, force: bool = False) -> Robot:
    """Ends the robot's pin, set here or on the robot: it goes on to what its environment wants. `force`: over whatever else would hold it
    back, a quarantine, holds, unmet conditions."""
    async with context.database.transaction() as tx:
        row = await robot_meant(tx, robot)
        await rollouts.lock_environment(tx, row.project, row.environment)
        await robots.resume(tx, row.name, row.live, identity.name if force else None)
        if row.live_rollout is not None:
            await rollouts.resumed(tx, row.live_rollout, row.name, context.now())
            await tx.notify("rollout", row.live_rollout)
        where = f"project/{row.project}/{row.environment}/{row.name}"
        undo = RobotAgain(robot=row.name, before=row.desired, after=None) if row.by_hand else None
        await audit.record(tx, identity.name, "robot.resume", where, {"force": force}, undo=undo)
        return robot_view(await robot_meant(tx, robot))


async def _shown(tx: Transaction, robot: str) -> Robot:
    """The robot, with why it is where it is."""
    row = await robot_meant(tx, robot)
    return msgspec.structs.replace(robot_view(row), placed=await membership.why_there(tx, row.project, row.name))


async def _join_line(
    tx: Transaction, context: Context, request: Request[Any, Any, Any], identity: Identity, robot: RobotRow
) -> RobotJoin:
    token = new_token("enr", context.random)
    now = context.now()
    url = url_as_asked(context, request)
    await join_tokens.insert(tx, token_digest(token), robot.name, identity.name, now, now + JOIN_LASTS)
    return RobotJoin(
        robot=robot.name,
        token=token,
        expires_at=now + JOIN_LASTS,
        command=f"lekiwi-agent join {url} --token {token}",
        url=url,
        environment=robot.environment,
        labels=robot.labels,
    )


def _checked_labels(labels: Mapping[str, str | None]) -> dict[str, str]:
    if len(labels) > placing.MAX_LABELS:
        raise BadInput(f"a robot may have at most {placing.MAX_LABELS} labels")
    for key, value in labels.items():
        if not _LABEL.match(key):
            raise BadInput(f"{key[:70]!r} cannot name a label: 1-63 letters, digits and . _ - /")
        if value is not None and (len(value) > 255 or not value.isprintable()):
            raise BadInput(f"the value of label {key!r} must be at most 255 printable characters")
    return {key: value for key, value in labels.items() if value is not None}


handlers = [
    list_robots,
    show_robot,
    add_robot,
    new_join_token,
    label_robot,
    move_robot,
    drain_robot,
    undrain_robot,
    remove_robot,
    resume_robot,
]
