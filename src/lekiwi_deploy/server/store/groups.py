"""Groups of robots as rows, and what membership looks at: environments that choose, robots and their labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.membership import Chooser, Placed
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.server.store.sessions import lock_all
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.policy import Policy


class GroupRow(msgspec.Struct, frozen=True, kw_only=True):
    """One group that somebody defined."""

    name: str
    selector: str
    by_whom: str
    at: datetime


class _Chooser(msgspec.Struct, frozen=True):
    name: EnvironmentName
    policy: Policy | None


async def lock_members(tx: Transaction, project: ProjectName) -> None:
    """Lets one transaction at a time change who belongs where in the project: before robots are locked, and before anything is read."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4908))", (project,))
    await tx.execute("SELECT FROM environments WHERE project = %s ORDER BY name FOR NO KEY UPDATE", (project,))


async def listed(tx: Transaction, project: ProjectName) -> list[GroupRow]:
    """Defined groups, by name."""
    return await tx.rows("SELECT * FROM groups WHERE project = %s ORDER BY name", (project,), GroupRow)


async def selectors(tx: Transaction, project: ProjectName) -> dict[str, str]:
    """The selectors of defined groups, by name."""
    return {row.name: row.selector for row in await listed(tx, project)}


async def put(tx: Transaction, project: ProjectName, name: str, selector: str, by: str, now: datetime) -> bool:
    """Defines the group; returns whether that changed anything."""
    done = await tx.execute(
        """
        INSERT INTO groups (project, name, selector, by_whom, at) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (project, name) DO UPDATE SET selector = excluded.selector, by_whom = excluded.by_whom, at = excluded.at
        WHERE groups.selector <> excluded.selector
        """,
        (project, name, selector, by, now),
    )
    return done.rowcount == 1


async def remove(tx: Transaction, project: ProjectName, name: str) -> bool:
    """Nobody defines it any more; returns whether anybody did."""
    done = await tx.execute("DELETE FROM groups WHERE project = %s AND name = %s", (project, name))
    return done.rowcount == 1


async def choosers(tx: Transaction, project: ProjectName) -> list[Chooser]:
    """Every environment of the project, by name."""
    rows = await tx.rows("SELECT name, policy FROM environments WHERE project = %s ORDER BY name", (project,), _Chooser)
    policies = [(row.name, row.policy or Policy()) for row in rows]
    return [Chooser(name, policy.groups, policy.select) for name, policy in policies]


async def placed(tx: Transaction, project: ProjectName, names: Sequence[str] | None = None) -> list[Placed]:
    """The project's robots, or those of these names, and where they are."""
    return await tx.rows(
        """
        SELECT r.name AS id, r.environment, r.labels, r.unplaced,
            EXISTS (SELECT FROM leases l WHERE l.robot = r.name AND l.ended_at IS NULL) AS leased
        FROM robots r WHERE r.project = %s AND (%s::text[] IS NULL OR r.name = ANY(%s)) ORDER BY r.name
        """,
        (project, list(names) if names is not None else None, list(names or ())),
        Placed,
    )


async def stand_ins(tx: Transaction, project: ProjectName, names: Collection[str]) -> list[EnvironmentName]:
    """Of environments with these names, those that only the first robots of a group made: nobody configured them, and nothing was ever live."""
    return await tx.rows(
        """
        SELECT e.name FROM environments e WHERE e.project = %s AND e.name = ANY(%s) AND e.policy IS NULL AND e.branch IS NULL AND e.seeded IS NULL
            AND e.live IS NULL AND e.freeze_at IS NULL
            AND NOT EXISTS (SELECT FROM rollouts r WHERE (r.project, r.environment) = (e.project, e.name))
            AND NOT EXISTS (SELECT FROM previews p WHERE (p.project, p.environment) = (e.project, e.name))
            AND NOT EXISTS (SELECT FROM deployments d WHERE (d.project, d.environment) = (e.project, e.name))
        ORDER BY e.name
        """,
        (project, list(names)),
        EnvironmentName,
    )


async def label_all(
    tx: Transaction, project: ProjectName, environment: EnvironmentName, labels: Mapping[str, str]
) -> None:
    """Gives every robot of the environment these labels, where it has none of that name."""
    names = await tx.rows(
        "SELECT name FROM robots WHERE project = %s AND environment = %s", (project, environment), RobotId
    )
    await lock_all(tx, names)
    await tx.execute(
        "UPDATE robots SET labels = %s::jsonb || labels WHERE name = ANY(%s)", (json_text(dict(labels)), names)
    )


async def remove_empty(tx: Transaction, project: ProjectName, names: Collection[str]) -> None:
    """Forgets those of these environments that have no robots."""
    await tx.execute(
        """
        DELETE FROM environments e WHERE e.project = %s AND e.name = ANY(%s)
            AND NOT EXISTS (SELECT FROM robots r WHERE (r.project, r.environment) = (e.project, e.name))
        """,
        (project, list(names)),
    )


async def move(tx: Transaction, project: ProjectName, moves: Mapping[RobotId, EnvironmentName]) -> None:
    """Puts robots into other environments. Each leaves the rollouts of the one that it was in; nothing is wanted of it until the conductor gives
    it what is live in the new one. One that a person pinned stays pinned. Hints `desired`, and `rollout` for both environments."""
    if not moves:
        return
    names = list(moves)
    await lock_all(tx, names)
    left = await tx.rows("SELECT DISTINCT environment FROM robots WHERE name = ANY(%s)", (names,), EnvironmentName)
    await leave_rollouts(tx, names)
    await tx.execute(
        """
        UPDATE rollout_robots rr SET generation = r.generation + 1
        FROM robots r WHERE r.name = ANY(%s) AND rr.robot = r.name AND rr.generation = r.generation
        """,
        (names,),
    )
    await tx.execute(
        """
        UPDATE robots r SET environment = given.environment, desired = CASE WHEN r.by_hand THEN r.desired END, generation = r.generation + 1,
            force = false, forced_by = NULL, resume = false, anytime = false, deferring_since = NULL, unplaced = NULL
        FROM jsonb_to_recordset(%s::jsonb) AS given(robot text, environment text) WHERE r.name = given.robot
        """,
        (json_text([{"robot": robot, "environment": environment} for robot, environment in moves.items()]),),
    )
    for name in names:
        await tx.notify("desired", name)
    for environment in {*left, *moves.values()}:
        await tx.notify("rollout", f"{project}/{environment}")


async def leave_rollouts(tx: Transaction, names: Sequence[str]) -> None:
    """These robots are no longer the business of the rollouts that their environment follows or that are under way there; a person's own move
    of one robot goes on."""
    await tx.execute(
        """
        DELETE FROM rollout_robots rr USING rollouts r, environments e
        WHERE rr.robot = ANY(%s) AND r.id = rr.rollout AND (e.project, e.name) = (r.project, r.environment)
          AND r.kind <> 'robot' AND (r.status = 'rolling' OR e.live_rollout = r.id)
        """,
        (list(names),),
    )


async def withdraw(tx: Transaction, names: Sequence[str]) -> None:
    """What these robots were given and have not taken yet is not wanted of them any more; one that a person pinned stays so. Hints `desired`."""
    await lock_all(tx, names)
    asked = await tx.rows(
        """
        UPDATE robots r SET desired = NULL, generation = generation + 1, force = false, forced_by = NULL, resume = false, deferring_since = NULL
        WHERE name = ANY(%s) AND NOT by_hand AND desired IS NOT NULL AND desired IS DISTINCT FROM running AND EXISTS (
            SELECT FROM rollout_robots rr WHERE rr.robot = r.name AND rr.generation = r.generation
              AND rr.status IN ('pending', 'assigned', 'fetching', 'switching'))
        RETURNING name
        """,
        (list(names),),
        str,
    )
    await tx.execute(
        """
        UPDATE rollout_robots rr SET status = 'pending', generation = NULL, assigned_at = NULL, waiting = '[]', look_at = NULL
        WHERE rr.robot = ANY(%s) AND rr.generation IS NOT NULL AND rr.status IN ('pending', 'assigned', 'fetching', 'switching')
        """,
        (asked,),
    )
    for name in asked:
        await tx.notify("desired", name)


async def set_unplaced(tx: Transaction, project: ProjectName, marks: Mapping[RobotId, str | None]) -> None:
    """Notes which robots have no place (and what their environment asks for), and which have one again."""
    if not marks:
        return
    await lock_all(tx, list(marks))
    lost = [name for name, mark in marks.items() if mark is not None]
    await withdraw(tx, lost)
    await leave_rollouts(tx, lost)
    await tx.execute(
        """
        UPDATE robots r SET unplaced = given.mark FROM jsonb_to_recordset(%s::jsonb) AS given(robot text, mark text) WHERE r.name = given.robot
        """,
        (json_text([{"robot": robot, "mark": mark} for robot, mark in marks.items()]),),
    )
    places = await tx.rows("SELECT DISTINCT environment FROM robots WHERE name = ANY(%s)", (list(marks),), str)
    for environment in places:
        await tx.notify("rollout", f"{project}/{environment}")
