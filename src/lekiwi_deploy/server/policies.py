"""Changing an environment: its policy and branch, making and removing it. Each change is kept with how to take it back, and settles which robots
the environment has."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.errors import BadInput, Blocked, Conflict, NotFound
from lekiwi_deploy.fleet.undoing import EnvironmentAgain, PolicyAgain
from lekiwi_deploy.server import membership
from lekiwi_deploy.server.builds.policy_words import shown_default, written
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.membership import Moved
from lekiwi_deploy.server.store import audit, policies, previews, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.policies import PolicyRow
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.policy import Policy


async def the_policy(tx: Transaction, project: ProjectName, name: str) -> PolicyRow:
    """The environment. Raises `NotFound` naming those that there are."""
    row = await policies.read(tx, project, name)
    if row is None:
        await projects.environment(tx, project, name)
        raise NotFound(f"project {project!r} has no environment {name!r}")
    return row


def spec_of(row: PolicyRow) -> EnvironmentSpec:
    """What holds there."""
    return EnvironmentSpec(row.name, row.branch, row.policy or Policy())


async def set_policy(
    tx: Transaction,
    project: ProjectName,
    by: str,
    name: str,
    branch: str | None,
    policy: Policy | None,
    *,
    reason: str = "",
) -> tuple[Moved, int | None]:
    """Makes this what holds in the environment (`policy` None: the defaults, as nobody configured it), and settles its robots: who moved, and the
    number of the change, None: there was none. Raises `NotFound`, `BadInput` (another environment has the branch) and `Blocked` (a preview)."""
    await membership.begin(tx, project)
    before = await the_policy(tx, project, name)
    if (before.branch, before.policy) == (branch, policy):
        return {}, None
    if before.preview:
        raise Blocked(
            f"{name} is a preview: its policy is its own as long as it lives", next=(f"lekiwi preview rm {name}",)
        )
    await _check_branch(tx, project, name, branch)
    await policies.write(tx, project, name, branch, policy)
    moved = await membership.settle(tx, project)
    spec = EnvironmentSpec(name, branch, policy or Policy())
    detail = membership.moved_detail(moved)
    return moved, await record_policy(tx, by, project, before, spec, detail, reason=reason, unset=policy is None)


async def create(
    tx: Transaction,
    context: Context,
    project: ProjectName,
    by: str,
    spec: EnvironmentSpec,
    *,
    configured: bool = True,
    reason: str = "",
) -> Moved:
    """Makes an environment, whose name the caller has checked (`configured` false: nobody wrote a policy). Raises `Conflict` when there is one of
    that name."""
    await projects.check_exists(tx, project)
    await membership.begin(tx, project)
    await _check_branch(tx, project, spec.name, spec.branch)
    if not await projects.ensure_environment(tx, project, EnvironmentName(spec.name), context.now()):
        raise Conflict(
            f"project {project!r} has an environment {spec.name!r} already",
            next=(f"lekiwi environments show {spec.name}", f"lekiwi environments set {spec.name} KEY=VALUE"),
        )
    await policies.write(tx, project, spec.name, spec.branch, spec.policy if configured else None)
    moved = await membership.settle(tx, project)
    await audit.record(
        tx,
        by,
        "environment.create",
        f"project/{project}/{spec.name}",
        {**written(spec), **membership.moved_detail(moved)},
        reason=reason,
        undo=EnvironmentAgain(environment=EnvironmentName(spec.name), made=True),
    )
    return moved


async def remove(tx: Transaction, project: ProjectName, by: str, name: str, *, reason: str = "") -> None:
    """Removes an environment that has no robots, and its history. Raises `NotFound`, `Conflict` (it has robots) and `Blocked` (a preview)."""
    await membership.begin(tx, project)
    row = await the_policy(tx, project, name)
    if row.preview:
        raise Blocked(f"{name} is a preview, which has leased robots", next=(f"lekiwi preview rm {name}",))
    there = await projects.environment(tx, project, name)
    if there.robots:
        raise Conflict(
            f"{name} has {there.robots} robot{'s' if there.robots > 1 else ''}: move them first",
            next=(f"lekiwi robots list -e {name}", "lekiwi robots move NAME ENVIRONMENT"),
        )
    lent = await previews.lent_by(tx, project, name)
    if lent:
        raise Conflict(
            f"{name} has lent {', '.join(lent[:3])} to previews: they come back to it",
            next=("lekiwi preview list",),
        )
    await policies.remove(tx, project, name)
    await audit.record(
        tx,
        by,
        "environment.remove",
        f"project/{project}/{name}",
        written(spec_of(row)),
        reason=reason,
        undo=EnvironmentAgain(environment=row.name, made=False, policy=row.policy, branch=row.branch),
    )


async def record_policy(
    tx: Transaction,
    by: str,
    project: ProjectName,
    before: PolicyRow | None,
    now: EnvironmentSpec,
    detail: Mapping[str, object],
    *,
    reason: str = "",
    unset: bool = False,
) -> int:
    """Keeps in the history what of the policy changed, and how to take it back."""
    name = EnvironmentName(now.name)
    was = spec_of(before) if before is not None else EnvironmentSpec(now.name, None, Policy())
    said: dict[str, object] = {"changed": differences(was, now), **detail}
    if before is None:
        undo: PolicyAgain | EnvironmentAgain = EnvironmentAgain(environment=name, made=True)
    else:
        undo = PolicyAgain(
            environment=name,
            before=before.policy,
            after=None if unset else now.policy,
            branch_before=before.branch,
            branch_after=now.branch,
        )
    return await audit.record(tx, by, "environment.set", f"project/{project}/{name}", said, reason=reason, undo=undo)


def differences(one: EnvironmentSpec, other: EnvironmentSpec) -> dict[str, list[str]]:
    """The keys in which they differ, each as the one and as the other writes it (a default in its words)."""
    first, second = written(one), written(other)
    return {
        key: [first.get(key, shown_default(key)), second.get(key, shown_default(key))]
        for key in {**first, **second}
        if first.get(key) != second.get(key)
    }


async def _check_branch(tx: Transaction, project: ProjectName, name: str, branch: str | None) -> None:
    if branch is None:
        return
    for other in await policies.listed(tx, project):
        if other.branch == branch and other.name != name and not other.preview:
            raise BadInput(
                f"{branch!r} is the branch of {other.name}: one environment per branch",
                next=(f"lekiwi environments set {other.name} --unset branch",),
            )
