"""Environments' policies as rows, what lekiwi.yaml said of them last, and where branches go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.policy import Policy


class Said(msgspec.Struct, frozen=True):
    """What lekiwi.yaml says of an environment."""

    branch: str | None
    policy: Policy


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One environment. `policy` None: nobody configured it; `seeded`: what lekiwi.yaml said last, None: it does not name it; `preview`: one of a
    branch, made and removed by itself."""

    name: EnvironmentName
    branch: str | None
    policy: Policy | None
    seeded: Said | None
    preview: bool


class _Project(msgspec.Struct, frozen=True):
    branches: tuple[tuple[str, str], ...]
    seeded_groups: Mapping[str, str]


_READ = """
SELECT e.name, e.branch, e.policy, e.seeded,
    EXISTS (SELECT FROM previews p WHERE (p.project, p.environment) = (e.project, e.name)) AS preview
FROM environments e WHERE e.project = %s AND (%s::text IS NULL OR e.name = %s) ORDER BY e.name
"""


async def listed(tx: Transaction, project: ProjectName) -> list[PolicyRow]:
    """The project's environments, by name."""
    return await tx.rows(_READ, (project, None, None), PolicyRow)


async def read(tx: Transaction, project: ProjectName, name: str) -> PolicyRow | None:
    """The environment of that name."""
    return await tx.row(_READ, (project, name, name), PolicyRow)


async def write(tx: Transaction, project: ProjectName, name: str, branch: str | None, policy: Policy | None) -> None:
    """What holds in the environment from now on; rollouts that are under way keep what they began with. Hints `desired` for its robots, whose
    trial it says, and `rollout` and `refs`, since what waited may go on."""
    await tx.execute(
        "UPDATE environments SET branch = %s, policy = %s WHERE project = %s AND name = %s",
        (branch, jsonb(msgspec.to_builtins(policy)) if policy is not None else None, project, name),
    )
    for robot in await tx.rows("SELECT name FROM robots WHERE project = %s AND environment = %s", (project, name), str):
        await tx.notify("desired", robot)
    await tx.notify("rollout", f"{project}/{name}")
    await tx.notify("refs", project)


async def write_seeded(tx: Transaction, project: ProjectName, name: str, said: Said | None) -> None:
    """Remembers what lekiwi.yaml says of the environment."""
    await tx.execute(
        "UPDATE environments SET seeded = %s WHERE project = %s AND name = %s",
        (jsonb(msgspec.to_builtins(said)) if said is not None else None, project, name),
    )


async def branches(tx: Transaction, project: ProjectName) -> tuple[tuple[str, str], ...]:
    """Patterns of branches and what each goes to (an environment or group), in order, as lekiwi.yaml says."""
    return (await _project(tx, project)).branches


async def write_branches(tx: Transaction, project: ProjectName, pairs: Sequence[tuple[str, str]]) -> None:
    """Where branches go from now on."""
    await tx.execute("UPDATE projects SET branches = %s WHERE name = %s", (jsonb(list(pairs)), project))


async def seeded_groups(tx: Transaction, project: ProjectName) -> Mapping[str, str]:
    """The selectors of groups that lekiwi.yaml defined last, by name."""
    return (await _project(tx, project)).seeded_groups


async def write_seeded_groups(tx: Transaction, project: ProjectName, groups: Mapping[str, str]) -> None:
    """Remembers which groups lekiwi.yaml defines."""
    await tx.execute("UPDATE projects SET seeded_groups = %s WHERE name = %s", (jsonb(dict(groups)), project))


async def remove(tx: Transaction, project: ProjectName, name: str) -> None:
    """Forgets the environment with its rollouts, activations and what else was its own. It has no robots any more."""
    await tx.execute("DELETE FROM environments WHERE project = %s AND name = %s", (project, name))


async def _project(tx: Transaction, project: ProjectName) -> _Project:
    return await tx.one("SELECT branches, seeded_groups FROM projects WHERE name = %s", (project,), _Project)
