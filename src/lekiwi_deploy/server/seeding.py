"""What lekiwi.yaml of the default branch says of environments, groups and branches is taken over when it changes.

What people set on the server holds until then. Only the default branch is read: no other branch, and no pull request, can change the policy that
it is judged by.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.undoing import GroupAgain
from lekiwi_deploy.server import membership
from lekiwi_deploy.server.builds.project_file import FILE, read_project_file
from lekiwi_deploy.server.builds.spec import EnvironmentSpec, ProjectSpec
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import blobs, default_branch, repository_path, tips
from lekiwi_deploy.server.policies import record_policy
from lekiwi_deploy.server.store import audit, groups, policies, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.policies import PolicyRow, Said
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName

_log = logging.getLogger("lekiwi.seeding")


async def seed_environments(context: Context, project: ProjectName, now: Mapping[str, str]) -> None:
    """Takes over what lekiwi.yaml of the default branch says, as far as it says something else than before. `now`: the tips of branches."""
    repository = repository_path(context.config.data, project)
    commit = now.get(f"refs/heads/{default_branch(repository)}")
    if commit is None or _SEEDED.get((str(repository), project)) == commit:
        return
    spec = await _read(context, project, commit)
    if spec is None:
        return
    async with context.database.transaction() as tx:
        await take_over(tx, context, project, spec, commit)
    _SEEDED[str(repository), project] = commit


async def read_file(context: Context, project: ProjectName) -> ProjectSpec | None:
    """What lekiwi.yaml of the default branch says now; None: there is none. Raises `BadInput` when it has a mistake."""
    repository = repository_path(context.config.data, project)
    if not repository.exists():
        return None
    commit = (await tips(context.config.data, repository)).get(f"refs/heads/{default_branch(repository)}")
    if commit is None:
        return None
    (content,) = await blobs(context.config.data, repository, commit, FILE)
    return read_project_file(content) if content is not None else None


async def _read(context: Context, project: ProjectName, commit: str) -> ProjectSpec | None:
    data = context.config.data
    (content,) = await blobs(data, repository_path(data, project), commit, FILE)
    try:
        return read_project_file(content or b"")
    except BadInput as error:
        _log.warning("%s of %s at %s: %s", FILE, project, commit[:7], error.message)
        return None


async def take_over(tx: Transaction, context: Context, project: ProjectName, spec: ProjectSpec, commit: str) -> None:
    """Makes groups, branches and environments what `spec` says, where that is something new."""
    await membership.begin(tx, project)
    touched = await _groups(tx, context, project, spec, commit)
    if await policies.branches(tx, project) != spec.branches:
        await policies.write_branches(tx, project, spec.branches)
        detail: dict[str, object] = {"branches": dict(spec.branches), "commit": commit}
        await audit.record(tx, FILE, "project.branches", f"project/{project}", detail)
    known = {row.name: row for row in await policies.listed(tx, project)}
    for environment in spec.environments:
        touched |= await _environment(tx, context, project, environment, known, commit)
    named = {one.name for one in spec.environments}
    for row in known.values():
        if row.seeded is not None and row.name not in named:
            await policies.write_seeded(
                tx, project, row.name, None
            )  # what holds there stays; the file says nothing of it
    if touched:
        moved = await membership.settle(tx, project)
        if moved:
            detail = {"commit": commit, **membership.moved_detail(moved)}
            await audit.record(tx, FILE, "robots.settle", f"project/{project}", detail)


async def _groups(tx: Transaction, context: Context, project: ProjectName, spec: ProjectSpec, commit: str) -> bool:
    before, here = await policies.seeded_groups(tx, project), await groups.selectors(tx, project)
    if before == spec.groups:
        return False
    await policies.write_seeded_groups(tx, project, spec.groups)
    touched = False
    for name in sorted({*before, *spec.groups}):
        selector = spec.groups.get(name)
        if before.get(name) == selector:
            continue
        if selector is not None:
            changed = await groups.put(tx, project, name, selector, FILE, context.now())
        else:
            changed = here.get(name) == before[name] and await groups.remove(tx, project, name)
        if changed:
            touched = True
            await audit.record(
                tx,
                FILE,
                "group.set" if selector is not None else "group.remove",
                f"project/{project}/{name}",
                {"selector": selector, "before": here.get(name), "commit": commit},
                undo=GroupAgain(name=name, before=here.get(name), after=selector),
            )
    return touched


async def _environment(
    tx: Transaction,
    context: Context,
    project: ProjectName,
    spec: EnvironmentSpec,
    known: Mapping[EnvironmentName, PolicyRow],
    commit: str,
) -> bool:
    """Whether it changed what holds."""
    name = EnvironmentName(spec.name)
    said = Said(spec.branch, spec.policy)
    before = known.get(name)
    if before is not None and before.seeded == said:
        return False
    await projects.ensure_environment(tx, project, name, context.now())
    await policies.write_seeded(tx, project, name, said)
    branch = branch_meant(spec, before)
    if before is not None and (before.branch, before.policy) == (branch, spec.policy):
        return False
    await policies.write(tx, project, name, branch, spec.policy)
    now = EnvironmentSpec(spec.name, branch, spec.policy)
    await record_policy(tx, FILE, project, before, now, {"commit": commit})
    return True


def branch_meant(spec: EnvironmentSpec, before: PolicyRow | None) -> str | None:
    """The branch of an environment, of which the file may say none: then what people set stays, but not what the file said before."""
    if spec.branch is not None or before is None or (before.seeded is not None and before.seeded.branch is not None):
        return spec.branch
    return before.branch


_SEEDED: dict[tuple[str, str], str] = {}
"""Commits whose lekiwi.yaml was read already; a cache of this process, by repository."""
