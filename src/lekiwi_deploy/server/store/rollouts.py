"""Rollouts and their robots as rows, and which of them an environment follows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.course import Course
from lekiwi_deploy.server.store import variables
from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.reasons import Reason


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `rollouts`."""

    id: RolloutId
    project: ProjectName
    environment: EnvironmentName
    deployment: DeploymentId
    kind: str
    status: str
    by_whom: str
    reason: str
    force: bool
    created_at: datetime
    finished_at: datetime | None
    previous: DeploymentId | None
    total: int
    live: int
    pending: int
    failed: int
    course: Course = Course()


class LiveRow(msgspec.Struct, frozen=True):
    """The deployment that an environment wants, the rollout that brings it there, and the environment's policy."""

    live: DeploymentId | None
    live_rollout: RolloutId | None
    policy: Policy | None


class RobotRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `rollout_robots`, with what the robot runs."""

    rollout: RolloutId
    robot: RobotId
    status: str
    running: DeploymentId | None
    outcome: Outcome | None
    assigned_at: datetime | None
    confirmed_at: datetime | None
    waiting: tuple[Reason, ...]


WAITING = """CASE WHEN rr.status = 'pending' AND rr.generation IS NULL AND rr.waiting = '[]' AND o.course ? 'later'
    THEN jsonb_build_array(o.course -> 'later') ELSE rr.waiting END AS waiting"""
"""Why a robot (`rr`) of a rollout (`o`) waits: what it has in common with all that the rollout has not come to is kept with the rollout."""


async def insert(
    tx: Transaction,
    *,
    id: str,
    project: str,
    environment: str,
    deployment: str,
    kind: str,
    by: str,
    reason: str,
    force: bool,
    previous: str | None,
    now: datetime,
    key: str | None,
    course: Course,
) -> None:
    """A new open rollout. `key`: makes it the only one of that key (the caller looked that there is none). From its first one in an environment
    on, the deployment goes with the variables of now there."""
    await variables.bind(tx, project, environment, deployment, now)
    await tx.execute(
        """
        INSERT INTO rollouts (id, project, environment, deployment, kind, by_whom, reason, force, previous, created_at, idempotency_key, course)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            id,
            project,
            environment,
            deployment,
            kind,
            by,
            reason,
            force,
            previous,
            now,
            key,
            jsonb(msgspec.to_builtins(course)),
        ),
    )


async def set_course(tx: Transaction, id: str, course: Course) -> None:
    """Notes where it stands."""
    await tx.execute("UPDATE rollouts SET course = %s WHERE id = %s", (jsonb(msgspec.to_builtins(course)), id))


async def by_key(tx: Transaction, key: str) -> RolloutId | None:
    """The rollout that was started with this key."""
    return await tx.row("SELECT id FROM rollouts WHERE idempotency_key = %s", (key,), RolloutId)


async def read(tx: Transaction, id: str) -> RolloutRow | None:
    """The rollout of exactly this id."""
    return await tx.row("SELECT * FROM rollouts WHERE id = %s", (id,), RolloutRow)


async def read_many(tx: Transaction, ids: Collection[str]) -> list[RolloutRow]:
    """Those of `ids` that exist."""
    return await tx.rows("SELECT * FROM rollouts WHERE id = ANY(%s)", (list(ids),), RolloutRow)


async def newest_in(tx: Transaction, environment: str, deployments: Collection[str]) -> dict[DeploymentId, RolloutRow]:
    """The newest rollout of each of these deployments in the environment, of those that had one there."""
    rows = await tx.rows(
        "SELECT DISTINCT ON (deployment) * FROM rollouts WHERE environment = %s AND deployment = ANY(%s) AND kind <> 'robot' "
        "ORDER BY deployment, created_at DESC",
        (environment, list(deployments)),
        RolloutRow,
    )
    return {row.deployment: row for row in rows}


async def ids_of_deployment(tx: Transaction, deployment: str) -> list[RolloutId]:
    """Every rollout of the deployment, newest first."""
    return await tx.rows(
        "SELECT id FROM rollouts WHERE deployment = %s ORDER BY created_at DESC", (deployment,), RolloutId
    )


async def robots(tx: Transaction, id: str) -> list[RobotRow]:
    """The robots of a rollout, by name."""
    return await tx.rows(
        f"""
        SELECT rr.rollout, rr.robot, rr.status, r.running, rr.outcome, rr.assigned_at, rr.confirmed_at, {WAITING}
        FROM rollout_robots rr JOIN robots r ON r.name = rr.robot JOIN rollouts o ON o.id = rr.rollout
        WHERE rr.rollout = %s ORDER BY rr.robot
        """,
        (id,),
        RobotRow,
    )


async def add_robots(
    tx: Transaction, id: str, project: str, environment: str, names: Sequence[str] | None = None
) -> int:
    """Adds to the rollout all robots of the environment (`names`: only those) that it does not have yet. How many."""
    done = await tx.execute(
        """
        INSERT INTO rollout_robots (rollout, robot, previous)
        SELECT %(id)s, name, running FROM robots
        WHERE project = %(project)s AND environment = %(environment)s AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
          AND NOT EXISTS (SELECT FROM rollout_robots rr WHERE rr.rollout = %(id)s AND rr.robot = robots.name)
        ON CONFLICT DO NOTHING
        """,
        {
            "id": id,
            "project": project,
            "environment": environment,
            "names": None if names is None else list(names),
        },
    )
    return done.rowcount


async def all_open(tx: Transaction, project: str, environment: str | None) -> list[RolloutRow]:
    """Those that are under way, newest first."""
    return await tx.rows(
        "SELECT * FROM rollouts WHERE project = %s AND (%s::text IS NULL OR environment = %s) AND status = 'rolling' "
        "ORDER BY created_at DESC, id",
        (project, environment, environment),
        RolloutRow,
    )


async def keep_robots(tx: Transaction, id: str, names: Sequence[str]) -> None:
    """Robots that this rollout leaves as they are, whatever it brings to the others."""
    await tx.execute(
        "INSERT INTO rollout_robots (rollout, robot, previous, status) SELECT %s, name, running, 'superseded' FROM robots WHERE name = ANY(%s)",
        (id, list(names)),
    )


async def asked_before(tx: Transaction, id: str, step: int) -> list[RobotId]:
    """Robots that were asked in steps before `step`."""
    return await tx.rows("SELECT robot FROM rollout_robots WHERE rollout = %s AND step < %s", (id, step), RobotId)


async def open_in(tx: Transaction, project: str, environment: str, robot: str | None = None) -> list[RolloutRow]:
    """Open rollouts of the whole environment, or, with `robot`, open ones of that robot alone."""
    if robot is None:
        return await tx.rows(
            "SELECT * FROM rollouts WHERE project = %s AND environment = %s AND status = 'rolling' AND kind <> 'robot'",
            (project, environment),
            RolloutRow,
        )
    return await tx.rows(
        """
        SELECT r.* FROM rollouts r JOIN rollout_robots rr ON rr.rollout = r.id AND rr.robot = %s
        WHERE r.project = %s AND r.environment = %s AND r.status = 'rolling' AND r.kind = 'robot'
        """,
        (robot, project, environment),
        RolloutRow,
    )


async def finish(tx: Transaction, id: str, status: str, now: datetime) -> None:
    """Gives a rollout its verdict; the time is kept that it was first given one."""
    await tx.execute(
        "UPDATE rollouts SET status = %s, finished_at = COALESCE(finished_at, %s) WHERE id = %s", (status, now, id)
    )


async def set_counts(tx: Transaction, id: str, *, total: int, live: int, pending: int, failed: int) -> None:
    """Notes where its robots stand."""
    await tx.execute(
        "UPDATE rollouts SET total = %s, live = %s, pending = %s, failed = %s WHERE id = %s",
        (total, live, pending, failed, id),
    )


async def lock_environment(tx: Transaction, project: str, environment: str) -> LiveRow | None:
    """What is live in the environment, locked until the transaction ends: whoever moves its robots does this first."""
    return await tx.row(
        "SELECT live, live_rollout, policy FROM environments WHERE project = %s AND name = %s FOR NO KEY UPDATE",
        (project, environment),
        LiveRow,
    )


async def set_live(tx: Transaction, project: str, environment: str, live: str | None, rollout: str | None) -> None:
    """What robots of the environment are to run from now on, and the rollout that sees to it."""
    await tx.execute(
        "UPDATE environments SET live = %s, live_rollout = %s WHERE project = %s AND name = %s",
        (live, rollout, project, environment),
    )


async def resumed(tx: Transaction, id: str, robot: str, now: datetime) -> None:
    """The robot was given what this rollout wants anew, under the generation that its row has now: an answer is expected again."""
    await tx.execute(
        """
        UPDATE rollout_robots rr SET status = 'assigned', generation = r.generation, assigned_at = %s, outcome = NULL, waiting = '[]'
        FROM robots r WHERE rr.rollout = %s AND rr.robot = %s AND r.name = rr.robot
        """,
        (now, id, robot),
    )
