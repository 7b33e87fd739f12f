"""Previews as pushes and people ask for them: open, renew, prolong, end, look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.approval import Way, wanted
from lekiwi_deploy.fleet.branches import Previews
from lekiwi_deploy.fleet.previews import Ended, preview_policy, terms
from lekiwi_deploy.server import lending, membership, previews
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.preview_state import State, read_state
from lekiwi_deploy.server.store import audit, deployments, progress, projects
from lekiwi_deploy.server.store import previews as store
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.previews import PreviewRow
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RobotId
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.previews import Lease, PreviewView
from lekiwi_deploy.wire.progress import Closed
from lekiwi_deploy.wire.reasons import AwaitsRobot, sentence

SHORTEST_S, LONGEST_S = 60.0, 30 * 86_400.0
MOST_ROBOTS = 100
replace = msgspec.structs.replace


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person wants of a preview instead of what its pool lends. None: as that."""

    robots: int | None = None
    lease_s: float | None = None


AS_THE_POOL = Terms()


async def prepare(
    tx: Transaction, context: Context, project: ProjectName, found: Previews, by: str, given: Terms = AS_THE_POOL
) -> PreviewRow:
    """The preview, with its environment, made if there is none; it asks for no robot yet. What was agreed on before stays, but for what is
    `given` now. Raises `Conflict` when an environment of its own has the name."""
    await membership.begin(tx, project)
    now = context.now()
    before = await store.read(tx, project, found.environment)
    made = await projects.ensure_environment(tx, project, found.environment, now)
    if before is None and not made:
        raise Conflict(
            f"the preview of {found.branch} would be called {found.environment}, which is an environment of its own: "
            "push the branch under another name"
        )
    policy = await store.policy(tx, project, found.pool)
    await store.set_policy(tx, project, found.environment, preview_policy(policy))
    lent = terms(policy)
    row = before or PreviewRow(
        project=project,
        environment=found.environment,
        branch=found.branch,
        pool=found.pool,
        wants=lent.robots,
        lease_s=lent.lease_s,
        opened_by=by,
        opened_at=now,
    )
    row = replace(
        row,
        pool=found.pool,
        wants=given.robots if given.robots is not None else row.wants,
        lease_s=given.lease_s if given.lease_s is not None else row.lease_s,
    )
    await store.put(tx, row)
    if before is None:
        detail = {"branch": found.branch, "pool": found.pool, "robots": row.wants, "lease_s": row.lease_s}
        await audit.record(tx, by, "preview.open", f"project/{project}/{found.environment}", detail)
    return row


async def is_preview(tx: Transaction, project: ProjectName, environment: str) -> bool:
    """Whether the environment is a preview."""
    return await store.read(tx, project, environment) is not None


async def in_queue(tx: Transaction, deployment: DeploymentRow) -> bool:
    """Whether the deployment has asked for a robot and waits for it."""
    assert deployment.environment is not None
    row = await store.read(tx, deployment.project, deployment.environment)
    return row is not None and row.waits == deployment.id and row.waits_since is not None


async def push_asks(tx: Transaction, context: Context, deployment: DeploymentRow) -> AwaitsRobot | None:
    """A push to a preview was built and may go live: it asks for robots, once, and starts the time of those that the preview has anew. What it waits
    for; None: its rollout has started. The caller holds `membership.begin`."""
    assert deployment.environment is not None
    row = await store.read(tx, deployment.project, deployment.environment)
    if row is None:
        raise NotFound(f"there is no preview {deployment.environment!r} any more: push again")
    if row.asked != deployment.id:
        if row.asked is None:  # of the first push the pool may have come with the push itself
            policy = await store.policy(tx, row.project, row.pool)
            await store.set_policy(tx, row.project, row.environment, preview_policy(policy))
            row = replace(row, wants=terms(policy).robots, lease_s=terms(policy).lease_s)
        await _ask(tx, context, row, deployment.id, deployment.created_by, renew=True)
    state = await previews.settle(tx, context, deployment.project)
    after = await store.read(tx, deployment.project, deployment.environment)
    return state.awaits(deployment.environment) if after is not None and after.waits == deployment.id else None


async def queues(tx: Transaction, context: Context, id: DeploymentId) -> bool:
    """A person deployed to a preview that has no robots: it asks for some, and what was deployed goes live as soon as there is one. False: it is no
    preview, or has robots, or people have to agree first, so there is nothing to wait for here."""
    deployment = await deployments.read(tx, id)
    if deployment is None or deployment.environment is None:
        return False
    if not await is_preview(tx, deployment.project, deployment.environment):
        return False
    await membership.begin(tx, deployment.project)
    row = await store.read(tx, deployment.project, deployment.environment)
    policy = await store.policy(tx, deployment.project, deployment.environment) or Policy()
    lent = await store.leases(tx, deployment.project, deployment.environment)
    if row is None or lent or wanted(policy, Way.DEPLOY) is not None:
        return False
    await _ask(tx, context, row, deployment.id, deployment.created_by, renew=False)
    state = await previews.settle(tx, context, deployment.project)
    awaits = state.awaits(row.environment)
    after = await store.read(tx, row.project, row.environment)
    if awaits is not None and after is not None and after.waits == id:
        await progress.append(tx, id, [Closed("built", sentence(awaits))], context.now())
    return True


async def _ask(
    tx: Transaction, context: Context, row: PreviewRow, goes_live: DeploymentId | None, by: str, *, renew: bool
) -> PreviewRow:
    """`goes_live` does so as soon as there is a robot; the preview queues if it has fewer than it wants."""
    now = context.now()
    running = row.until is not None and row.until > now
    until = row.until if running else None
    if until is not None and renew:
        until = max(until, now + row.lease)
        await store.prolong(tx, row.project, row.environment, until)
    has = len(await store.leases(tx, row.project, row.environment)) if running else 0
    since = row.waits_since if row.waits_since is not None else now
    row = replace(
        row,
        asked=goes_live or row.asked,
        asked_by=by,
        waits=goes_live if goes_live is not None else row.waits,
        until=until,
        waits_since=since if has < row.wants else None,
    )
    await store.put(tx, row)
    await tx.notify("previews", row.project)
    return row


async def reopen(
    tx: Transaction, context: Context, row: PreviewRow, deployment: DeploymentId | None, by: str, reason: str
) -> None:
    """A person wants the preview to have robots, from now on for its whole time; `deployment` goes live there (None: it is still being built). The
    caller holds `membership.begin`."""
    again = deployment if deployment is not None and (row.live != deployment or row.until is None) else None
    await _ask(tx, context, row, again, by, renew=True)
    detail = {"deployment": deployment, "robots": row.wants, "lease_s": row.lease_s}
    await audit.record(tx, by, "preview.reopen", f"project/{row.project}/{row.environment}", detail, reason=reason)
    await previews.settle(tx, context, row.project)


async def extend(
    tx: Transaction, context: Context, project: ProjectName, name: str, lease_s: float, by: str, reason: str
) -> None:
    """The preview's robots stay for so long from now. Raises `NotFound`, and `Conflict` when it has none."""
    check_lease(lease_s)
    await membership.begin(tx, project)
    row = await meant(tx, project, name)
    now = context.now()
    if row.until is None or row.until <= now:
        waits = "waits for a robot: its time begins when it has one" if row.waits_since else "has no robots any more"
        raise Conflict(f"the preview {row.environment} {waits}", next=(f"lekiwi preview open {row.branch}",))
    until = now + timedelta(seconds=lease_s)
    await store.prolong(tx, project, row.environment, until)
    await store.put(tx, replace(row, until=until))
    detail = {"until": until.isoformat(), "before": row.until.isoformat()}
    await audit.record(tx, by, "preview.extend", f"project/{project}/{row.environment}", detail, reason=reason)
    await tx.notify("previews", project)


async def end(
    tx: Transaction, context: Context, project: ProjectName, name: str, why: Ended, by: str, reason: str = ""
) -> list[str]:
    """Ends the preview of that name, as `lending.end`. Raises `NotFound` too."""
    await membership.begin(tx, project)
    return await lending.end(tx, await meant(tx, project, name), why, context.now(), by=by, reason=reason)


async def of_branch(tx: Transaction, project: ProjectName, branch: str) -> PreviewRow | None:
    """The branch's preview, if it has one."""
    return next((row for row in await store.listed(tx, project) if row.branch == branch), None)


async def meant(tx: Transaction, project: ProjectName, name: str) -> PreviewRow:
    """The preview that a person means, by its name or its branch. Raises `NotFound` with those that there are."""
    rows = await store.listed(tx, project)
    found = next((row for row in rows if row.environment == name), None)
    found = found or next((row for row in rows if row.branch == name), None)
    if found is None:
        names = ", ".join(row.environment for row in rows) or "none"
        raise NotFound(
            f"project {project!r} has no preview {name[:60]!r} (it has: {names})", next=("lekiwi preview list",)
        )
    return found


def check_lease(lease_s: float) -> None:
    """Raises `BadInput`."""
    if not SHORTEST_S <= lease_s <= LONGEST_S:
        raise BadInput(f"a lease is between 1 minute and 30 days long, not {lease_s:g} s")


def check_robots(robots: int) -> None:
    """Raises `BadInput`."""
    if not 1 <= robots <= MOST_ROBOTS:
        raise BadInput(f"a preview wants 1 to {MOST_ROBOTS} robots, not {robots}")


def view(state: State, name: EnvironmentName) -> PreviewView:
    """The preview as the API shows it."""
    row = state.rows[name]
    place = state.settled.queue.get(name)
    return PreviewView(
        environment=name,
        project=row.project,
        branch=row.branch,
        pool=row.pool,
        wants=row.wants,
        leases=tuple(
            Lease(robot=RobotId(one.robot), home=one.home, since=one.since, until=one.until)
            for one in state.leases_of(name)
        ),
        live=row.live,
        waits=row.waits,
        ahead=place.ahead if place is not None else None,
        free_at=place.free_at if place is not None else None,
        opened_at=row.opened_at,
        opened_by=row.opened_by,
        lease_s=row.lease_s,
        until=row.until,
        waits_since=row.waits_since,
        why=place.why if place is not None else "",
    )


async def show(tx: Transaction, context: Context, project: ProjectName, name: str) -> PreviewView:
    """One preview, by its name or its branch. Raises `NotFound`."""
    row = await meant(tx, project, name)
    return view(await read_state(tx, project, context.now()), row.environment)


async def views(tx: Transaction, project: ProjectName, now: datetime) -> tuple[PreviewView, ...]:
    """All previews of the project, by name."""
    state = await read_state(tx, project, now)
    return tuple(view(state, name) for name in state.rows)
