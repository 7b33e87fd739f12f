"""Making live elsewhere what was built before: promote, and pointing an environment's name at a deployment. Byte-identical, never rebuilt."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from lekiwi_deploy.errors import BadInput, Blocked, Conflict, NotFound
from lekiwi_deploy.fleet.approval import Way
from lekiwi_deploy.fleet.undoing import Frost, LiveAgain
from lekiwi_deploy.server.approving import Came, go_live
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.differing import Side, Sides, compare, read_sides, side_of
from lekiwi_deploy.server.fitness import check_fits
from lekiwi_deploy.server.forecasting import Wanted, forecast
from lekiwi_deploy.server.redeploying import redeploy
from lekiwi_deploy.server.store import audit, deployments, projects, quarantines, robots, rollouts, variables
from lekiwi_deploy.server.store.approvals import Options
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.views import deployment_views
from lekiwi_deploy.wire.api import DeploymentStatus, Environment, Identity
from lekiwi_deploy.wire.changes import Differences, Move, Moved
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName

MAX_REASON = 1000
replace = msgspec.structs.replace
KINDS = (Way.PROMOTE, Way.ALIAS)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is to go where, and all that differs."""

    row: DeploymentRow
    target: Environment
    sides: Sides
    notes: tuple[str, ...]


async def promote(context: Context, identity: Identity, project: ProjectName, asked: Move) -> Moved:
    """Has the deployment that `asked.source` means go live in `asked.target` under its policy, and ends the freeze that a rollback left.

    Nothing happens with `show` or `dry_run`, or where it is live already. Raises `BadInput`, `NotFound`, `Conflict` (nothing is live in
    the source; not what was looked at) and `Blocked` (quarantined there, not built for its robots).
    """
    _check(asked)
    async with context.database.transaction() as tx:
        looked = await _look(tx, context, project, asked)
    differ = await compare(context, looked.sides)
    if looked.row.id == looked.target.live or asked.show:
        return _unmoved(looked, differ, changed=looked.row.id != looked.target.live)
    if asked.dry_run:
        return await _foretold(context, looked, differ, asked)
    async with context.database.transaction() as tx:
        return await _move(tx, context, identity, project, asked, looked, differ)


def _check(asked: Move) -> None:
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    if asked.kind not in KINDS:
        raise BadInput(f"a move is a promote or an alias, not {asked.kind[:40]!r}")
    if asked.source == asked.target:
        raise BadInput(f"{asked.source} cannot be promoted to itself")


async def _look(tx: Transaction, context: Context, project: ProjectName, asked: Move) -> _Looked:
    target = await projects.environment(tx, project, asked.target)
    known = {one.name: one for one in await projects.environments(tx, project)}
    source = await side_of(tx, context, project, known, asked.source, target.name, asked.utc_offset_min)
    row = source.row
    if row.package_hash is None or row.status != "built":
        raise Conflict(
            f"{row.id} is {row.status}, not built: nothing can run it yet", next=(f"lekiwi inspect {row.id}",)
        )
    if asked.digest is not None and asked.digest != row.package_hash:
        raise Conflict(
            f"{asked.source} is {row.id} now, with the digest {row.package_hash[:12]}, not what you looked at: look again",
            next=(f"lekiwi diff {asked.target} {asked.source}",),
            details={"deployment": row.id, "digest": row.package_hash},
        )
    before = await deployments.read(tx, target.live) if target.live is not None else None
    a = Side(before, target.name) if before is not None else None
    sides = await read_sides(tx, context, a, Side(row, target.name, newest=asked.keep_env))
    notes: list[str] = []
    shown = sides.views[1]
    if asked.source in known and shown.status is not DeploymentStatus.LIVE:
        notes.append(f"{row.id} is not proven in {asked.source} yet: it is {shown.status.replace('_', ' ')} there")
    return _Looked(row, target, sides, tuple(notes))


async def _move(
    tx: Transaction,
    context: Context,
    identity: Identity,
    project: ProjectName,
    asked: Move,
    looked: _Looked,
    differ: Differences,
) -> Moved:
    name, row = looked.target.name, looked.row
    if await rollouts.lock_environment(tx, project, name) is None:
        raise NotFound(f"project {project!r} has no environment {asked.target!r}")
    target = await projects.environment(tx, project, name)
    check_fits(row, await robots.listed(tx, project, name), name, force=asked.force)
    await _check_quarantine(tx, row, name, asked)
    way = Way(asked.kind)
    if asked.keep_env and await variables.bound(tx, project, name, row.id) is not None:
        again = await redeploy(
            tx, context, of=row.id, environment=name, by=identity.name, reason=asked.reason, force=asked.force, way=way
        )
        row, came = again.row, Came(again.rollout, again.request)
    else:
        options = Options(reason=asked.reason, force=asked.force, again=True)
        came = await go_live(tx, context, row, name, way, by=identity.name, options=options)
    thawed = came.rollout is not None and await projects.unfreeze(tx, project, name)
    undo = ""
    if came.rollout is not None:
        freeze = target.freeze
        seq = await audit.record(
            tx,
            identity.name,
            f"environment.{way}",
            f"project/{project}/{name}",
            {
                "to": row.id,
                "version": row.version,
                "from": target.live,
                "source": asked.source,
                "force": asked.force,
                "rollout": came.rollout,
            },
            reason=asked.reason,
            undo=LiveAgain(
                environment=name,
                before=target.live,
                after=row.id,
                frost=Frost(freeze.by, freeze.at, freeze.why) if freeze is not None else None,
            ),
        )
        undo = f"lekiwi undo {seq}" if target.live is not None else ""
    (view,) = await deployment_views(tx, context, [row])
    return Moved(
        deployment=view,
        environment=name,
        differences=differ,
        changed=True,
        rollout=came.rollout,
        request=came.request,
        undo=undo,
        thawed=thawed,
        notes=looked.notes,
    )


async def _check_quarantine(tx: Transaction, row: DeploymentRow, environment: EnvironmentName, asked: Move) -> None:
    held = await quarantines.holding(tx, row.project, environment, row.id)
    if held is not None and not asked.force:
        raise Blocked(
            f"{row.id} {row.version} failed in {environment} before: {held.why}. --force tries it again",
            next=(f"lekiwi promote {row.id} {environment} --force",),
            details={"deployment": row.id, "why": held.why},
        )


def _unmoved(looked: _Looked, differ: Differences, *, changed: bool) -> Moved:
    return Moved(
        deployment=looked.sides.views[1],
        environment=looked.target.name,
        differences=differ,
        changed=changed,
        notes=looked.notes,
    )


async def _foretold(context: Context, looked: _Looked, differ: Differences, asked: Move) -> Moved:
    wanted = Wanted(looked.target, looked.row, Way(asked.kind), force=asked.force, newest=asked.keep_env)
    async with context.database.transaction() as tx:
        plan = await forecast(tx, context, wanted)
    return replace(_unmoved(looked, differ, changed=True), forecast=plan)
