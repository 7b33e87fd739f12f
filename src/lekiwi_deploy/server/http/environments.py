"""Environments: make, look at their policy, set it, compare it with lekiwi.yaml, remove."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from litestar import delete, get, post, put

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.fleet.labels import parse_selector
from lekiwi_deploy.server import membership, policies, seeding
from lekiwi_deploy.server.builds.policy_words import block, changed, from_text, settings
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.reasons import checked_reason
from lekiwi_deploy.server.membership import Moved
from lekiwi_deploy.server.placing import checked_environment
from lekiwi_deploy.server.store import groups, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.policies import PolicyRow
from lekiwi_deploy.wire.api import Environment, Identity, Role
from lekiwi_deploy.wire.environments import EnvironmentPolicy, NewEnvironment, NextOpening, PolicyDifference, SetPolicy
from lekiwi_deploy.wire.ids import ProjectName, checked_name
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.windows import Closed, Open, Windows, look


@post("/api/projects/{project:str}/environments", role=Role.DEPLOYER, status_code=201)
async def create_environment(context: Context, identity: Identity, project: str, data: NewEnvironment) -> Environment:
    """Makes an environment. 409 when there is one of that name."""
    checked_reason(data.reason)
    name = checked_environment(data.name)
    for group in data.groups:
        checked_name("a group", group)
    if data.select is not None:
        parse_selector(data.select)
    policy = Policy(groups=data.groups, select=data.select)
    spec = EnvironmentSpec(name, None, policy)
    if data.branch is not None:
        spec = changed(spec, {"branch": data.branch})
    async with context.database.transaction() as tx:
        chooses = bool(data.groups) or data.select is not None
        await policies.create(
            tx, context, ProjectName(project), identity.name, spec, configured=chooses, reason=data.reason
        )
        return await projects.environment(tx, ProjectName(project), name)


@delete("/api/projects/{project:str}/environments/{environment:str}", role=Role.DEPLOYER, status_code=204)
async def remove_environment(
    context: Context, identity: Identity, project: str, environment: str, reason: str = ""
) -> None:
    """Removes an environment that has no robots, with its history."""
    checked_reason(reason)
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        await policies.remove(tx, ProjectName(project), identity.name, environment, reason=reason)


@get("/api/projects/{project:str}/environments/{environment:str}/policy")
async def show_policy(context: Context, project: str, environment: str) -> EnvironmentPolicy:
    """What holds in the environment, in lekiwi.yaml's words, and where that is not what lekiwi.yaml said last."""
    async with context.database.transaction() as tx:
        row = await policies.the_policy(tx, ProjectName(project), environment)
        return await _view(tx, context, ProjectName(project), row, _seeded(row))


@get("/api/projects/{project:str}/environments/{environment:str}/policy/diff")
async def diff_policy(context: Context, project: str, environment: str) -> EnvironmentPolicy:
    """The same beside lekiwi.yaml as the default branch has it now. 400 when that has a mistake."""
    async with context.database.transaction() as tx:
        row = await policies.the_policy(tx, ProjectName(project), environment)
    file = await seeding.read_file(context, ProjectName(project))
    said = next((one for one in file.environments if one.name == environment), None) if file is not None else None
    if said is not None:
        said = EnvironmentSpec(said.name, seeding.branch_meant(said, row), said.policy)
    async with context.database.transaction() as tx:
        return await _view(tx, context, ProjectName(project), row, said)


@put("/api/projects/{project:str}/environments/{environment:str}/policy", role=Role.DEPLOYER)
async def set_policy(
    context: Context, identity: Identity, project: str, environment: str, data: SetPolicy
) -> EnvironmentPolicy:
    """Sets keys of the environment's policy, or all of it."""
    checked_reason(data.reason)
    if sum((bool(data.set or data.unset), data.text is not None, data.follow_file)) != 1:
        raise BadInput("give keys to set or unset, or a whole text, or follow_file: one of them")
    async with context.database.transaction() as tx:
        await projects.check_exists(tx, project)
        await membership.begin(tx, ProjectName(project))
        row = await policies.the_policy(tx, ProjectName(project), environment)
        wanted = _wanted(row, data)
        moved, change = await policies.set_policy(
            tx, ProjectName(project), identity.name, row.name, wanted.branch, wanted.policy, reason=data.reason
        )
        row = await policies.the_policy(tx, ProjectName(project), environment)
        return await _view(tx, context, ProjectName(project), row, _seeded(row), moved, change)


def _wanted(row: PolicyRow, data: SetPolicy) -> EnvironmentSpec:
    if data.follow_file:
        said = _seeded(row)
        if said is None:
            raise NotFound(f"lekiwi.yaml of the default branch says nothing of {row.name}")
        return said
    if data.text is not None:
        return from_text(row.name, data.text, data.file)
    return changed(policies.spec_of(row), data.set, data.unset)


def _seeded(row: PolicyRow) -> EnvironmentSpec | None:
    """What lekiwi.yaml said of it last."""
    if row.seeded is None:
        return None
    branch = row.seeded.branch if row.seeded.branch is not None else row.branch
    return EnvironmentSpec(row.name, branch, row.seeded.policy)


async def _view(
    tx: Transaction,
    context: Context,
    project: ProjectName,
    row: PolicyRow,
    said: EnvironmentSpec | None,
    moved: Moved | None = None,
    change: int | None = None,
) -> EnvironmentPolicy:
    holds = policies.spec_of(row)
    differs = policies.differences(holds, said) if said is not None else {}
    members = [robot.id for robot in await groups.placed(tx, project) if robot.environment == row.name]
    return EnvironmentPolicy(
        environment=row.name,
        project=project,
        branch=row.branch,
        policy=holds.policy,
        settings=settings(holds),
        text=block(holds),
        seeded=said is not None,
        differs=tuple(PolicyDifference(key=key, here=here, file=file) for key, (here, file) in differs.items()),
        robots=tuple(members),
        moved=moved or {},
        opening=_opening(context, holds.policy.window),
        change=change,
    )


def _opening(context: Context, window: Windows | None) -> NextOpening | None:
    """On the clock of the zone that the window names; else on one in UTC, since each robot's own counts."""
    if window is None:
        return None
    zone = window.zone or "UTC"
    match look(window, context.now(), ZoneInfo(zone)):
        case Open(until):
            return NextOpening(zone=zone, open=True, open_until=until)
        case Closed(opens):
            return NextOpening(zone=zone, open=False, opens=opens)


handlers = [create_environment, remove_environment, show_policy, diff_policy, set_policy]
