"""Whether something goes live at once or waits for people, and what their words do.

A request binds to the manifest's digest. What follows from the last approval happens in the transaction that stores it.
"""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.errors import Blocked, Conflict, NotAllowed, NotFound
from lekiwi_deploy.fleet import approval
from lekiwi_deploy.fleet.approval import End, Way
from lekiwi_deploy.fleet.pace import steps_at
from lekiwi_deploy.server.approval_ends import end_request, tell_waiting
from lekiwi_deploy.server.authorship import author_of
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.rollouts import start_rollout
from lekiwi_deploy.server.store import (
    approvals,
    audit,
    deployments,
    previews,
    progress,
    projects,
    quarantines,
    rollouts,
)
from lekiwi_deploy.server.store.approvals import Options, RequestRow
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.api import Identity
from lekiwi_deploy.wire.approvals import ApprovalRequest, Say, Vote
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ProjectName, RolloutId, base62
from lekiwi_deploy.wire.pace import Pace
from lekiwi_deploy.wire.policy import Approvals, Policy, RolloutStep
from lekiwi_deploy.wire.progress import Note


@dataclass(frozen=True, slots=True)
class Came:
    """What came of wanting something live: its rollout, or the request that it waits for (never neither)."""

    rollout: RolloutId | None
    request: ApprovalRequest | None


async def go_live(
    tx: Transaction,
    context: Context,
    row: DeploymentRow,
    environment: EnvironmentName,
    way: Way,
    *,
    by: str,
    options: Options,
) -> Came:
    """Starts the rollout of `row` in the environment, or asks people first where its policy says so. Raises as `start_rollout`."""
    live = await rollouts.lock_environment(tx, row.project, environment)
    if live is None:
        raise NotFound(f"project {row.project!r} has no environment {environment!r}")
    asked = approval.wanted(live.policy or Policy(), way)
    if asked is not None:
        await _check_allowed(tx, row, environment, options)
        request = await _ask(tx, context, row, environment, way, by, asked, options)
        return Came(None, request)
    recorded = way in (Way.PROMOTE, Way.ALIAS)  # by whoever asked for it
    return Came(await _start(tx, context, row.id, environment, by, options, recorded=recorded), None)


async def go_live_built(tx: Transaction, context: Context, id: DeploymentId) -> Came:
    """What `lekiwi deploy` or a rebuild asked for, once it is built."""
    row = await deployments.read(tx, id)
    assert row is not None and row.environment is not None
    way = Way.REDEPLOY if row.source == "redeploy" else Way.DEPLOY
    steps = await steps_asked(tx, row.metadata.pace, row.project, row.environment, force=row.force)
    options = Options(reason=row.message or "", force=row.force, steps=steps)
    return await go_live(tx, context, row, row.environment, way, by=row.created_by, options=options)


async def steps_asked(
    tx: Transaction, pace: Pace | None, project: ProjectName, environment: EnvironmentName, *, force: bool
) -> tuple[RolloutStep, ...] | None:
    """The steps of a rollout at this pace, by the environment's policy and robots as they are now; None: the policy's own. Raises `Blocked`."""
    if pace is None:
        return None
    place = await projects.environment(tx, project, environment)
    return steps_at(pace, place.policy.steps, place.robots, force=force)


async def awaits(tx: Transaction, context: Context, row: DeploymentRow) -> str | None:
    """Why a built push may not go live in its environment yet, or ever, in one line; None: people have agreed, or need not.

    Asks them, if they were not asked: the request stands once the transaction is committed.
    """
    assert row.environment is not None
    live = await rollouts.lock_environment(tx, row.project, row.environment)
    policy = (live.policy if live is not None else None) or Policy()
    asked = approval.wanted(policy, Way.PUSH)
    last = await approvals.newest(tx, row.project, row.environment, row.id)
    if last is not None and last.ended is not None and last.ended != End.SUPERSEDED:
        if last.ended == End.APPROVED and last.digest == row.package_hash:
            return None
        return f"{'nobody approved it in time' if last.ended == End.EXPIRED else f'it was {last.ended}'}; push again"
    if asked is None:
        if last is not None and last.ended is None:  # the policy asks for nobody any more
            await approvals.end(tx, last.id, End.SUPERSEDED, context.now())
        return None
    request = await _ask(
        tx, context, row, row.environment, Way.PUSH, row.created_by, asked, Options(reason=_subject(row), push=True)
    )
    return waiting_text(request)


def waiting_text(request: ApprovalRequest) -> str:
    """`waits for 2 approvals (not by its author): lekiwi approve dep_… -e production`."""
    counted = approval.tally(request, request.votes, request.asked_at)
    command = f"lekiwi approve {request.deployment} -e {request.environment}"
    return f"waits for {approval.waits_for(request, counted)}: {command}"


async def _ask(
    tx: Transaction,
    context: Context,
    row: DeploymentRow,
    environment: EnvironmentName,
    way: Way,
    by: str,
    asked: Approvals,
    options: Options,
) -> ApprovalRequest:
    """The request that is open for this deployment there, made if there is none; what was made before it waits no more."""
    if row.package_hash is None:
        raise Conflict(f"{row.id} is {row.status}, not built: there is nothing to approve yet")
    last = await approvals.newest(tx, row.project, environment, row.id)
    if last is not None and last.ended is None:
        (view,) = await approvals.views(tx, [last])
        return view
    now = context.now()
    for other in await approvals.older(tx, row.project, environment, row.id, row.created_at):
        await end_request(tx, other, End.SUPERSEDED, f"superseded: {row.id} {row.version} waits in its place", now)
    request = RequestRow(
        id=f"apr_{base62(context.random(16), 8)}",
        project=row.project,
        environment=environment,
        deployment=row.id,
        version=row.version,
        digest=row.package_hash,
        kind=Way.DEPLOY if way is Way.PUSH else way,
        asked_by=by,
        asked_at=now,
        author=await author_of(context, row),
        needed=asked.count,
        not_author=asked.not_author,
        expires_at=approval.expiry(now, asked),
        options=options,
    )
    await approvals.insert(tx, request)
    (view,) = await approvals.views(tx, [request])
    if way is not Way.PUSH:  # of a push the reconciler tells
        await tell_waiting(tx, row.id, waiting_text(view), now)
    detail = {"request": request.id, "kind": request.kind, "needed": request.needed, "digest": request.digest}
    await audit.record(tx, by, "deployment.ask", f"project/{row.project}/{environment}/{row.id}", detail)
    return view


async def say(
    tx: Transaction, context: Context, identity: Identity, deployment: DeploymentId, said: Say, *, yes: bool
) -> ApprovalRequest:
    """Stores a person's word on what waits, and does what follows from it: the rollout, if enough agree now.

    Raises `NotFound` (nothing waits), `Conflict` (it waits in several environments, has another digest, or has ended), `NotAllowed`
    (the author may not approve it) and `Blocked` (quarantined, or frozen meanwhile).
    """
    found = await _waiting(tx, deployment, said.environment)
    live = await rollouts.lock_environment(tx, found.project, found.environment)
    row = await approvals.newest(tx, found.project, found.environment, deployment)
    if row is None or row.id != found.id or row.ended is not None:
        raise Conflict(f"{deployment} was decided on meanwhile", next=("lekiwi approvals",))
    if said.digest is not None and said.digest != row.digest:
        raise Conflict(
            f"{deployment} has the digest {row.digest[:12]}, and you looked at {said.digest[:12]}: look again",
            next=(f"lekiwi inspect {deployment}",),
            details={"digest": row.digest},
        )
    now = context.now()
    (before,) = await approvals.views(tx, [row])
    request = approval.stricter(
        before, (live.policy if live else None) or Policy(), Way.PUSH if row.options.push else Way(row.kind)
    )
    if now >= request.expires_at:
        raise Conflict(f"{deployment} waited until {request.expires_at:%d %b %H:%M} UTC: deploy it again")
    if yes and request.not_author and approval.is_author(identity.name, request):
        raise NotAllowed(
            f"{row.environment} asks for somebody else's word: {identity.name} wrote {deployment} or asked for it",
            details={"author": request.author, "asked_by": request.asked_by},
        )
    vote = Vote(by=identity.name, approved=yes, at=now, reason=said.reason)
    await approvals.vote(tx, row.id, vote)
    counted = approval.tally(request, (*(one for one in request.votes if one.by != vote.by), vote), now)
    where = f"project/{row.project}/{row.environment}/{deployment}"
    rollout: RolloutId | None = None
    because = f": {said.reason}" if said.reason else ""
    if counted.end is End.REJECTED:
        await end_request(tx, row, End.REJECTED, f"rejected by {identity.name}{because}", now)
    elif counted.end is End.APPROVED:
        rollout = await _approved(tx, context, row)
    else:
        left = approval.waits_for(request, counted)
        await progress.append(tx, deployment, [Note(f"approved by {identity.name}{because}; waits for {left}")], now)
    detail = {"request": row.id, "digest": row.digest, "rollout": rollout}
    await audit.record(
        tx, identity.name, f"deployment.{'approve' if yes else 'reject'}", where, detail, reason=said.reason
    )
    stored = await approvals.newest(tx, row.project, row.environment, deployment)
    assert stored is not None
    (view,) = await approvals.views(tx, [stored])
    return view if counted.end is not None else approval.shown(view, request)


async def _approved(tx: Transaction, context: Context, row: RequestRow) -> RolloutId | None:
    """Ends the request and starts what it asked for. None: a push that the reconciler has go live, when the freeze of its
    environment ends or its preview has robots."""
    environment = await projects.environment(tx, row.project, row.environment)
    freeze = environment.freeze
    if freeze is not None and not row.options.push and freeze.at > row.asked_at:
        raise Blocked(
            f"{row.environment} was frozen meanwhile by {freeze.by}{f' ({freeze.why})' if freeze.why else ''}",
            next=(f"lekiwi unfreeze -e {row.environment}", f"lekiwi approve {row.deployment} -e {row.environment}"),
        )
    await approvals.end(tx, row.id, End.APPROVED, context.now())
    lent = await previews.read(tx, row.project, row.environment) is not None  # robots are to be leased first
    if row.options.push and (freeze is not None or lent):
        await tx.notify("refs", row.project)
        return None
    rollout = await _start(tx, context, row.deployment, row.environment, row.asked_by, row.options)
    if row.kind in (Way.PROMOTE, Way.ALIAS):
        await projects.unfreeze(tx, row.project, row.environment)
    return rollout


async def _start(
    tx: Transaction,
    context: Context,
    id: DeploymentId,
    environment: EnvironmentName,
    by: str,
    options: Options,
    *,
    recorded: bool = False,
) -> RolloutId:
    return await start_rollout(
        tx,
        context,
        deployment_id=id,
        environment=environment,
        kind="deploy",
        by=by,
        reason=options.reason,
        force=options.force,
        again=options.again,
        steps=options.steps,
        recorded=recorded,
    )


async def _waiting(tx: Transaction, deployment: DeploymentId, environment: str | None) -> RequestRow:
    """The one request that is meant. Raises `NotFound`, with what came of the last one, or `Conflict` with the choices."""
    rows = await approvals.of_deployment(tx, deployment)
    there = [row for row in rows if row.ended is None and environment in (None, row.environment)]
    if len(there) == 1:
        return there[0]
    if there:
        names = [row.environment for row in there]
        raise Conflict(
            f"{deployment} waits in {' and '.join(names)}: say which",
            next=tuple(f"lekiwi approve {deployment} -e {name}" for name in names),
            details={"environments": names},
        )
    last = next((row for row in rows if environment in (None, row.environment)), None)
    if last is not None and last.ended is not None:
        raise Conflict(
            f"{deployment} waits for nobody: it was {last.ended} in {last.environment}",
            next=(f"lekiwi inspect {deployment}",),
        )
    raise NotFound(
        f"{deployment} waits for no approval" + (f" in {environment}" if environment else ""),
        next=("lekiwi approvals",),
    )


async def _check_allowed(tx: Transaction, row: DeploymentRow, environment: str, options: Options) -> None:
    """Nobody is asked about what could not go live anyway."""
    held = await quarantines.holding(tx, row.project, environment, row.id)
    if held is not None and not (options.force or (row.force and row.environment == environment)):
        raise Blocked(
            f"{row.id} {row.version} failed in {environment} before: {held.why}. --force tries it again",
            details={"deployment": row.id, "why": held.why},
        )


def _subject(row: DeploymentRow) -> str:
    return (row.message or "").split("\n", 1)[0]
