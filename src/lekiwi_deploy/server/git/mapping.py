"""Where branches go: environments and `branches:` as the server has them, and as a push that brings another lekiwi.yaml makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lekiwi_deploy.fleet.branches import Routes, Target
from lekiwi_deploy.fleet.previews import lends
from lekiwi_deploy.server.builds.spec import ProjectSpec
from lekiwi_deploy.server.seeding import branch_meant
from lekiwi_deploy.server.store import groups, policies, previews, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.policies import PolicyRow, Said
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.policy import Policy


async def stored(tx: Transaction, project: ProjectName) -> tuple[Routes, Mapping[EnvironmentName, PolicyRow]]:
    """As the server has it; and its environments' policies."""
    of_branch = {row.environment: row.branch for row in await previews.listed(tx, project)}
    rows = {row.name: row for row in await policies.listed(tx, project)}
    robots = {one.name: one.robots for one in await projects.environments(tx, project)}
    stand_ins = set(await groups.stand_ins(tx, project, rows))
    targets = tuple(
        replace(
            _target(name, row.branch, row.policy, robots.get(name, 0), of_branch.get(name)),
            stands_in=name in stand_ins,
        )
        for name, row in rows.items()
    )
    return Routes(targets, await policies.branches(tx, project)), rows


def as_written(mapping: Routes, rows: Mapping[EnvironmentName, PolicyRow], spec: ProjectSpec) -> Routes:
    """What it will be once lekiwi.yaml of the default branch is `spec`: what people set holds where the file says what it said before."""
    known = {target.name: target for target in mapping.targets}
    for environment in spec.environments:
        name = EnvironmentName(environment.name)
        before, row = known.get(name), rows.get(name)
        if row is not None and row.seeded == Said(environment.branch, environment.policy):
            continue
        robots = before.robots if before is not None else 0
        preview = before.preview if before is not None else None
        known[name] = _target(name, branch_meant(environment, row), environment.policy, robots, preview)
    return Routes(tuple(known.values()), spec.branches)


def _target(
    name: EnvironmentName, branch: str | None, policy: Policy | None, robots: int, preview: str | None
) -> Target:
    return Target(
        name,
        branch,
        robots,
        groups=policy.groups if policy is not None else (),
        lends=lends(name, policy),
        preview=preview,
    )
