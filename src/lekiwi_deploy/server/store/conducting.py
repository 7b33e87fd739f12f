"""What the conductor reads of rollouts and writes back: one step of one rollout is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentMetadata
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.server.store.sessions import lock_all
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, RobotId, RolloutId
from lekiwi_deploy.wire.link import Outcome, Report
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.reasons import Reason

Look = Literal["hinted", "open", "all"]


class Changed(msgspec.Struct, frozen=True):
    """Robots that were written, and where that is up to: what to ask with the next time."""

    names: tuple[RobotId, ...]
    cursor: str


class OpenRollout(RolloutRow, frozen=True, kw_only=True):
    """A rollout with all that its plan needs beside its robots. `active`: it is the one that its environment follows."""

    digest: ManifestDigest
    deployment_created_at: datetime
    version: str
    metadata: DeploymentMetadata
    policy: Policy | None
    epoch: int
    active: bool
    environments: int


class SeenRow(msgspec.Struct, frozen=True, kw_only=True):
    """One robot of a rollout: what is recorded of it there, and what the robot's own row says."""

    robot: RobotId
    labels: dict[str, str]
    status: str
    assigned: int | None
    assigned_at: datetime | None
    outcome: Outcome | None
    waiting: tuple[Reason, ...]
    joined: bool
    online: bool
    last_seen_at: datetime | None
    platform: Platform | None
    cloned_at: datetime | None
    by_hand: bool
    pinned_by: str | None
    pinned_at: datetime | None
    desired: DeploymentId | None
    generation: int
    report: Report | None
    deferring_since: datetime | None
    confirmed: bool = False
    environment: EnvironmentName = EnvironmentName("")
    drained_by: str | None = None
    drained_at: datetime | None = None
    drained_why: str | None = None
    unplaced: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded anew of a robot in a rollout."""

    robot: RobotId
    status: str
    outcome: Outcome | None
    waiting: tuple[Reason, ...]
    confirmed: bool
    look_at: datetime | None


async def due(tx: Transaction, hints: Collection[str], look: Look, now: datetime) -> list[RolloutId]:
    """Rollouts to look at, oldest first: of those that are open or followed by an environment, the ones that `hints` (ids or
    `project/environment`s) point at, and those with a robot that was to be looked at by `now`; with `look` also all open ones, or
    simply all."""
    return await tx.rows(
        """
        SELECT id FROM (
            SELECT r.id, r.created_at, r.project || '/' || r.environment AS place, true AS open FROM rollouts r WHERE r.status = 'rolling'
            UNION
            SELECT r.id, r.created_at, e.project || '/' || e.name, r.status = 'rolling'
            FROM environments e JOIN rollouts r ON r.id = e.live_rollout
        ) AS found
        WHERE id = ANY(%(hints)s) OR place = ANY(%(hints)s) OR %(look)s = 'all' OR (%(look)s = 'open' AND open)
            OR id IN (SELECT rollout FROM rollout_robots WHERE look_at <= %(now)s)
        ORDER BY created_at, id
        """,
        {"hints": list(hints), "look": look, "now": now},
        RolloutId,
    )


async def claim(tx: Transaction, id: str) -> OpenRollout | None:
    """The rollout, locked until the transaction ends, so that one step is taken at a time; None when it is over and not followed."""
    return await tx.row(
        """
        SELECT r.*, d.package_hash AS digest, d.created_at AS deployment_created_at, d.version, d.metadata, e.policy,
            (SELECT epoch FROM server) AS epoch, e.live_rollout IS NOT DISTINCT FROM r.id AS active,
            (SELECT count(*) FROM environments x WHERE x.project = r.project
             AND EXISTS (SELECT FROM robots WHERE (project, environment) = (x.project, x.name))) AS environments
        FROM rollouts r
        JOIN deployments d ON d.id = r.deployment
        JOIN environments e ON (e.project, e.name) = (r.project, r.environment)
        WHERE r.id = %s AND (r.status = 'rolling' OR e.live_rollout = r.id)
        FOR NO KEY UPDATE OF e, r
        """,
        (id,),
        OpenRollout,
    )


async def changed(tx: Transaction, since: str | None) -> Changed:
    """Robots of which something was written after `since`, as far as it is committed, or that this transaction's forerunner wrote.

    Triggers note each write with its transaction (robot_changes). `since` is a snapshot, and the transaction that took it: what that snapshot
    does not show is new, in whatever order transactions end.
    """
    snapshot, _, own = (since or "").partition(" ")
    return await tx.one(
        """
        SELECT pg_current_snapshot()::text || ' ' || pg_current_xact_id()::text AS cursor, CASE WHEN %(snapshot)s = '' THEN '{}' ELSE ARRAY(
            SELECT DISTINCT robot FROM robot_changes
            WHERE xid >= LEAST(pg_snapshot_xmin(NULLIF(%(snapshot)s, '')::pg_snapshot), NULLIF(%(own)s, '')::xid8)
              AND (xid = NULLIF(%(own)s, '')::xid8 OR NOT pg_visible_in_snapshot(xid, NULLIF(%(snapshot)s, '')::pg_snapshot))
            ORDER BY robot) END AS names
        """,
        {"snapshot": snapshot, "own": own},
        Changed,
    )


async def forget_changes(tx: Transaction, before: datetime) -> None:
    """Drops notes of changes that are older: whoever has not looked since reads everything anyway."""
    await tx.execute("DELETE FROM robot_changes WHERE at < %s", (before,))


async def settle(
    tx: Transaction, id: str, project: str, environment: str, only: Collection[str] | None = None
) -> set[RobotId]:
    """Makes the rollout's robots those that the environment has now (`only`: as far as these names go). Which ones came or went."""
    given = {"id": id, "project": project, "environment": environment, "only": [] if only is None else list(only)}
    these = "" if only is None else "AND r.name = ANY(%(only)s)"  # no OR: an index serves a few names
    gone = await tx.rows(
        f"""
        DELETE FROM rollout_robots rr USING robots r
        WHERE rr.rollout = %(id)s AND r.name = rr.robot AND (r.project, r.environment) <> (%(project)s, %(environment)s) {these}
        RETURNING rr.robot
        """,
        given,
        RobotId,
    )
    came = await tx.rows(
        f"""
        INSERT INTO rollout_robots (rollout, robot, previous)
        SELECT %(id)s, r.name, r.running FROM robots r
        WHERE r.project = %(project)s AND r.environment = %(environment)s {these}
          AND NOT EXISTS (SELECT FROM rollout_robots rr WHERE rr.rollout = %(id)s AND rr.robot = r.name)
        ON CONFLICT DO NOTHING RETURNING robot
        """,
        given,
        RobotId,
    )
    return {*gone, *came}


async def seen(tx: Transaction, id: str, only: Collection[str] | None = None) -> list[SeenRow]:
    """Robots of a rollout; `only`: of these names."""
    these = "" if only is None else "AND rr.robot = ANY(%(only)s)"
    return await tx.rows(
        f"""
        SELECT rr.robot, r.labels, rr.status, rr.generation AS assigned, rr.assigned_at, rr.outcome, rr.waiting,
            r.joined_at IS NOT NULL AS joined, r.session IS NOT NULL AS online, r.last_seen_at, r.platform, r.cloned_at,
            r.by_hand, r.pinned_by, r.pinned_at, r.desired, r.generation, r.report, r.deferring_since,
            rr.confirmed_at IS NOT NULL AS confirmed, r.environment, r.drained_by, r.drained_at, r.drained_why, r.unplaced
        FROM rollout_robots rr JOIN robots r ON r.name = rr.robot
        WHERE rr.rollout = %(id)s {these}
        """,
        {"id": id, "only": [] if only is None else list(only)},
        SeenRow,
    )


async def assign(
    tx: Transaction,
    id: str,
    names: Sequence[str],
    deployment: str,
    *,
    by_hand: str | None,
    forced_by: str | None,
    step: int,
    anytime: bool,
    now: datetime,
) -> None:
    """Makes `deployment` what these robots are to run, under a new generation each. `by_hand`: who pins them there; `forced_by`: who wants
    it over whatever would hold it back; `anytime`: although the environment's window is closed. They get the
    variables that go with it in their environment."""
    await lock_all(tx, names)
    await tx.execute(
        """
        WITH given AS (
            UPDATE robots SET desired = %(deployment)s, generation = generation + 1, by_hand = %(by)s::text IS NOT NULL,
                pinned_by = %(by)s, pinned_at = CASE WHEN %(by)s::text IS NULL THEN NULL ELSE %(now)s END, force = %(forced)s::text IS NOT NULL,
                forced_by = %(forced)s, resume = false, anytime = %(anytime)s, variables_environment = environment,
                variables_deployment = %(deployment)s, variables = COALESCE((
                    SELECT l.variables FROM releases l
                    WHERE (l.project, l.environment, l.deployment) = (robots.project, robots.environment, %(deployment)s)), 0)
            WHERE name = ANY(%(names)s) RETURNING name, generation
        )
        UPDATE rollout_robots rr SET generation = given.generation, assigned_at = %(now)s, step = %(step)s
        FROM given WHERE rr.rollout = %(id)s AND rr.robot = given.name
        """,
        {
            "id": id,
            "names": list(names),
            "deployment": deployment,
            "by": by_hand,
            "forced": forced_by,
            "anytime": anytime,
            "step": step,
            "now": now,
        },
    )
    for name in names:
        await tx.notify("desired", name)


async def unassign(tx: Transaction, project: str, environment: str, deployment: str) -> None:
    """Nothing is wanted any more of the robots that `deployment` was wanted of: they keep what they run."""
    await lock_all(tx, await tx.rows("SELECT name FROM robots WHERE desired = %s", (deployment,), str))
    names = await tx.rows(
        """
        UPDATE robots SET desired = NULL, generation = generation + 1
        WHERE project = %s AND environment = %s AND desired = %s AND NOT by_hand RETURNING name
        """,
        (project, environment, deployment),
        str,
    )
    for name in names:
        await tx.notify("desired", name)


async def record(tx: Transaction, id: str, changes: Sequence[Change], now: datetime) -> None:
    """Notes where robots of the rollout stand now."""
    if not changes:
        return
    await tx.execute(
        """
        UPDATE rollout_robots rr SET status = now.status, outcome = NULLIF(now.outcome, 'null'::jsonb), waiting = now.waiting,
            look_at = now.look_at,
            confirmed_at = CASE WHEN now.confirmed THEN COALESCE(rr.confirmed_at, %(now)s) ELSE rr.confirmed_at END
        FROM jsonb_to_recordset(%(changes)s::jsonb)
            AS now(robot text, status text, outcome jsonb, waiting jsonb, confirmed boolean, look_at timestamptz)
        WHERE rr.rollout = %(id)s AND rr.robot = now.robot
        """,
        {"id": id, "changes": json_text(changes), "now": now},
    )


class Deferring(msgspec.Struct, frozen=True, kw_only=True):
    """Since when a robot holds off what is wanted of it; None: it does not, any more."""

    robot: RobotId
    since: datetime | None


async def defer(tx: Transaction, changes: Sequence[Deferring], lock: Collection[str] = ()) -> None:
    """Notes since when these robots hold off what is wanted of them. Locks their rows and those of `lock`, all at once, in one order."""
    await lock_all(tx, [*lock, *(one.robot for one in changes)])
    await tx.execute(
        """
        UPDATE robots r SET deferring_since = now.since
        FROM jsonb_to_recordset(%s::jsonb) AS now(robot text, since timestamptz) WHERE r.name = now.robot
        """,
        (json_text(changes),),
    )
