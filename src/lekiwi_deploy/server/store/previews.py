"""Previews and leases as rows: who wants robots, who has which, and what the decision about them looks at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId, RolloutId
from lekiwi_deploy.wire.link import Report
from lekiwi_deploy.wire.policy import Policy


class PreviewRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `previews`, with what is live in its environment."""

    project: ProjectName
    environment: EnvironmentName
    branch: str
    pool: EnvironmentName
    wants: int
    lease_s: float
    opened_by: str
    opened_at: datetime
    waits_since: datetime | None = None
    until: datetime | None = None
    asked: DeploymentId | None = None
    asked_by: str | None = None
    waits: DeploymentId | None = None
    live: DeploymentId | None = None

    @property
    def lease(self) -> timedelta:
        """How long its robots stay from a push on."""
        return timedelta(seconds=self.lease_s)


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One lease that runs. `place`: the environment that the robot is in."""

    id: int
    robot: RobotId
    environment: EnvironmentName
    home: EnvironmentName
    before: DeploymentId | None
    since: datetime
    until: datetime
    place: EnvironmentName


class PoolRobot(msgspec.Struct, frozen=True, kw_only=True):
    """A robot of an environment that lends, as it is now. `pinned`: by a person on the server."""

    name: RobotId
    environment: EnvironmentName
    joined: bool
    online: bool
    cloned: bool
    drained: bool
    unplaced: bool
    pinned: bool
    desired: DeploymentId | None
    report: Report | None


class HomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot comes home to. `status`: of the rollout that brings what is live; `step`: where that stands."""

    live: DeploymentId | None
    live_rollout: RolloutId | None
    status: str | None


_READ = """
SELECT p.*, e.live FROM previews p
JOIN environments e ON (e.project, e.name) = (p.project, p.environment)
"""


async def projects_with(tx: Transaction) -> list[ProjectName]:
    """Projects that have a preview, by name."""
    return await tx.rows("SELECT DISTINCT project FROM previews ORDER BY project", None, ProjectName)


async def listed(tx: Transaction, project: str) -> list[PreviewRow]:
    """The project's previews, by name."""
    return await tx.rows(f"{_READ} WHERE p.project = %s ORDER BY p.environment", (project,), PreviewRow)


async def read(tx: Transaction, project: str, environment: str) -> PreviewRow | None:
    """The preview of that name."""
    return await tx.row(f"{_READ} WHERE p.project = %s AND p.environment = %s", (project, environment), PreviewRow)


async def put(tx: Transaction, row: PreviewRow) -> None:
    """Stores it, new or not; who opened it and when is kept."""
    await tx.execute(
        """
        INSERT INTO previews (project, environment, branch, pool, wants, lease_s, opened_by, opened_at, waits_since, until, asked, asked_by, waits)
        VALUES (%(project)s, %(environment)s, %(branch)s, %(pool)s, %(wants)s, %(lease_s)s, %(opened_by)s, %(opened_at)s, %(waits_since)s,
            %(until)s, %(asked)s, %(asked_by)s, %(waits)s)
        ON CONFLICT (project, environment) DO UPDATE SET branch = excluded.branch, pool = excluded.pool, wants = excluded.wants,
            lease_s = excluded.lease_s, waits_since = excluded.waits_since, until = excluded.until, asked = excluded.asked,
            asked_by = excluded.asked_by, waits = excluded.waits
        """,
        msgspec.structs.asdict(row),
    )


async def set_policy(tx: Transaction, project: str, environment: str, policy: Policy) -> None:
    """How the preview is judged from now on."""
    await tx.execute(
        "UPDATE environments SET policy = %(policy)s WHERE project = %(project)s AND name = %(name)s AND policy IS DISTINCT FROM %(policy)s",
        {"policy": jsonb(msgspec.to_builtins(policy)), "project": project, "name": environment},
    )


async def policy(tx: Transaction, project: str, environment: str) -> Policy | None:
    """An environment's policy; None: nobody configured it, or there is none of that name."""
    found = await tx.row(
        "SELECT policy FROM environments WHERE project = %s AND name = %s", (project, environment), _Policy
    )
    return found.policy if found is not None else None


class _Policy(msgspec.Struct, frozen=True):
    policy: Policy | None


async def frozen(tx: Transaction, project: str) -> list[EnvironmentName]:
    """Environments whose automatic deployment stands still."""
    return await tx.rows(
        "SELECT name FROM environments WHERE project = %s AND freeze_at IS NOT NULL", (project,), EnvironmentName
    )


async def leases(tx: Transaction, project: str, environment: str | None = None) -> list[LeaseRow]:
    """The leases that run (of one preview), oldest first."""
    return await tx.rows(
        """
        SELECT l.*, r.environment AS place FROM leases l JOIN robots r ON r.name = l.robot
        WHERE l.project = %(project)s AND l.ended_at IS NULL AND (%(name)s::text IS NULL OR l.environment = %(name)s) ORDER BY l.id
        """,
        {"project": project, "name": environment},
        LeaseRow,
    )


async def lent_by(tx: Transaction, project: str, environment: str) -> list[RobotId]:
    """Robots that come home to this environment when their leases end, by name."""
    return await tx.rows(
        "SELECT robot FROM leases WHERE project = %s AND home = %s AND ended_at IS NULL ORDER BY robot",
        (project, environment),
        RobotId,
    )


async def begin_lease(
    tx: Transaction,
    project: str,
    robot: str,
    *,
    environment: str,
    home: str,
    before: str | None,
    since: datetime,
    until: datetime,
) -> None:
    """The robot is the preview's. `before`: what was wanted of it."""
    await tx.execute(
        "INSERT INTO leases (robot, project, environment, home, before, since, until) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (robot, project, environment, home, before, since, until),
    )


async def end_lease(tx: Transaction, id: int, why: str, now: datetime) -> None:
    """It is over."""
    await tx.execute("UPDATE leases SET ended_at = %s, why = %s WHERE id = %s", (now, why, id))


async def prolong(tx: Transaction, project: str, environment: str, until: datetime) -> None:
    """The preview's leases end then."""
    await tx.execute(
        "UPDATE leases SET until = %s WHERE project = %s AND environment = %s AND ended_at IS NULL",
        (until, project, environment),
    )


async def pool_robots(tx: Transaction, project: str, pools: Sequence[str]) -> list[PoolRobot]:
    """All robots that are in these environments, by name."""
    return await tx.rows(
        """
        SELECT name, environment, joined_at IS NOT NULL AS joined, session IS NOT NULL AS online, cloned_at IS NOT NULL AS cloned,
            drained_at IS NOT NULL AS drained, unplaced IS NOT NULL AS unplaced, by_hand AS pinned, desired, report
        FROM robots WHERE project = %s AND environment = ANY(%s) ORDER BY name
        """,
        (project, list(pools)),
        PoolRobot,
    )


async def home(tx: Transaction, project: str, environment: str) -> HomeRow | None:
    """What is live there; None: there is no such environment any more."""
    return await tx.row(
        """
        SELECT e.live, e.live_rollout, o.status FROM environments e LEFT JOIN rollouts o ON o.id = e.live_rollout
        WHERE e.project = %s AND e.name = %s
        """,
        (project, environment),
        HomeRow,
    )


async def robots_in(tx: Transaction, project: str, environment: str) -> int:
    """How many robots the environment has."""
    return await tx.one(
        "SELECT count(*) FROM robots WHERE project = %s AND environment = %s", (project, environment), int
    )


async def newest_built(
    tx: Transaction, project: str, environment: str, branch: str, commit: str
) -> DeploymentId | None:
    """The newest deployment of this commit of the branch that was built for the preview."""
    return await tx.row(
        """
        SELECT id FROM deployments WHERE project = %s AND environment = %s AND branch = %s AND commit_sha = %s AND status = 'built'
        ORDER BY created_at DESC, id DESC LIMIT 1
        """,
        (project, environment, branch, commit),
        DeploymentId,
    )


async def building(tx: Transaction, project: str, environment: str, since: datetime | None = None) -> bool:
    """Whether a deployment for it is queued or being built, or was built after `since`."""
    found = await tx.row(
        """
        SELECT 1 FROM deployments WHERE project = %s AND environment = %s
          AND (status IN ('queued', 'building') OR finished_at > %s) LIMIT 1
        """,
        (project, environment, since),
        int,
    )
    return found is not None


async def drop_waiting(tx: Transaction, project: str, environment: str) -> None:
    """What was built for it and never went live is not to go live any more."""
    await tx.execute(
        "UPDATE deployments SET roll_out = false WHERE project = %s AND environment = %s AND rollout IS NULL AND status = 'built'",
        (project, environment),
    )


async def remove(tx: Transaction, project: str, environment: str) -> None:
    """Forgets the preview and its environment, which must have no robots. Its deployments stay, as built."""
    await tx.execute("DELETE FROM environments WHERE project = %s AND name = %s", (project, environment))
