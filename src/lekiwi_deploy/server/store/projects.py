"""Projects and their environments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lekiwi_deploy.errors import Conflict, NotFound
from lekiwi_deploy.server.store import policies
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.api import Environment, Freeze, Project
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName
from lekiwi_deploy.wire.policy import Policy, Undo


@dataclass(frozen=True, slots=True)
class _Row:
    name: EnvironmentName
    project: ProjectName
    branch: str | None
    policy: Policy | None
    live: DeploymentId | None
    freeze_by: str | None
    freeze_at: datetime | None
    freeze_why: str | None
    robots: int
    online: int
    healthy: int
    preview: str | None
    until: datetime | None
    lent: int


_ENVIRONMENTS = """
SELECT e.name, e.project, e.branch, e.policy, e.live, e.freeze_by, e.freeze_at, e.freeze_why,
    count(r.name) AS robots, count(r.session) AS online, count(*) FILTER (WHERE r.healthy) AS healthy, p.branch AS preview, p.until,
    (SELECT count(*) FROM leases l WHERE l.project = e.project AND l.home = e.name AND l.ended_at IS NULL) AS lent
FROM environments e LEFT JOIN robots r ON r.project = e.project AND r.environment = e.name
LEFT JOIN previews p ON p.project = e.project AND p.environment = e.name
WHERE e.project = %(project)s AND (%(name)s::text IS NULL OR e.name = %(name)s)
GROUP BY e.project, e.name, p.branch, p.until ORDER BY e.name
"""


async def insert(tx: Transaction, name: ProjectName, by: str, now: datetime) -> bool:
    """Makes the project; False: there is one of that name already."""
    made = await tx.execute(
        "INSERT INTO projects (name, created_at, created_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (name, now, by),
    )
    return made.rowcount == 1


async def listed(tx: Transaction) -> list[Project]:
    """All projects by name, with their environments."""
    names = await tx.rows("SELECT name FROM projects ORDER BY name", None, str)
    return [await read(tx, name) for name in names]


async def read(tx: Transaction, name: str) -> Project:
    """One project with its environments. Raises `NotFound`."""
    created_at = await tx.row("SELECT created_at FROM projects WHERE name = %s", (name,), datetime)
    if created_at is None:
        raise _no_project(name)
    return Project(
        name=ProjectName(name),
        created_at=created_at,
        git=f"/git/{name}.git",
        environments=tuple(await environments(tx, ProjectName(name))),
        branches=await policies.branches(tx, ProjectName(name)),
    )


async def exists(tx: Transaction, name: str) -> bool:
    """Whether there is a project of that name."""
    return await tx.row("SELECT 1 FROM projects WHERE name = %s", (name,), int) is not None


async def check_exists(tx: Transaction, name: str) -> None:
    """Raises `NotFound` unless there is a project of that name."""
    if not await exists(tx, name):
        raise _no_project(name)


async def environments(tx: Transaction, project: ProjectName, name: str | None = None) -> list[Environment]:
    """The project's environments by name, or only the one called `name`."""
    found = await tx.rows(_ENVIRONMENTS, {"project": project, "name": name}, _Row)
    return [_environment(row) for row in found]


async def environment(tx: Transaction, project: ProjectName, name: str) -> Environment:
    """One environment. Raises `NotFound` naming those that there are."""
    found = await environments(tx, project, name)
    if found:
        return found[0]
    await read(tx, project)
    others = ", ".join(other.name for other in await environments(tx, project)) or "none yet"
    raise NotFound(f"project {project!r} has no environment {name!r} (it has: {others})")


async def ensure_environment(tx: Transaction, project: ProjectName, name: EnvironmentName, now: datetime) -> bool:
    """Makes the environment, with the defaults, unless there is one; returns whether it was made. The name is checked by the caller."""
    made = await tx.execute(
        "INSERT INTO environments (project, name, created_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (project, name, now),
    )
    return made.rowcount == 1


async def freeze(tx: Transaction, project: ProjectName, name: str, by: str, at: datetime, why: str) -> bool:
    """Stops automatic deployment of the environment; returns whether that changed anything (a first freeze keeps its reason)."""
    done = await tx.execute(
        "UPDATE environments SET freeze_by = %s, freeze_at = %s, freeze_why = %s "
        "WHERE project = %s AND name = %s AND freeze_at IS NULL",
        (by, at, why, project, name),
    )
    return done.rowcount == 1


async def unfreeze(tx: Transaction, project: ProjectName, name: str) -> bool:
    """Lets automatic deployment go on; returns whether it stood still. Hints `refs`."""
    done = await tx.execute(
        "UPDATE environments SET freeze_by = NULL, freeze_at = NULL, freeze_why = NULL "
        "WHERE project = %s AND name = %s AND freeze_at IS NOT NULL",
        (project, name),
    )
    if done.rowcount == 1:
        await tx.notify("refs", project)
        await tx.notify("rollout", f"{project}/{name}")
    return done.rowcount == 1


def not_created(name: str) -> Conflict:
    """What to raise when `insert` found a project of that name."""
    return Conflict(f"there is a project {name!r} already", next=(f"lekiwi link {name}",), details={"project": name})


def _no_project(name: str) -> NotFound:
    return NotFound(f"there is no project {name[:60]!r}", next=("lekiwi link NAME",))


def _environment(row: _Row) -> Environment:
    policy = row.policy or Policy()
    freeze = None
    if row.freeze_at is not None:
        freeze = Freeze(by=row.freeze_by or "", at=row.freeze_at, why=row.freeze_why or "")
    return Environment(
        name=row.name,
        project=row.project,
        branch=row.branch,
        configured=row.policy is not None,
        auto_deploy=policy.auto_deploy,
        health_checks=policy.health_checks,
        rollback_on_error=_written(policy.undo),
        defer_limit_s=policy.defer_limit_s,
        policy=policy,
        live=row.live,
        freeze=freeze,
        robots=row.robots,
        online=row.online,
        healthy=row.healthy,
        preview=row.preview,
        until=row.until,
        lent=row.lent,
    )


def _written(undo: Undo) -> bool | str:
    """`rollback_on_error` as lekiwi.yaml has it."""
    return {Undo.NOTHING: False, Undo.FLEET: True}.get(undo, undo.value)
