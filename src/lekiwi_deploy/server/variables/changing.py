"""Setting and removing variables: all or nothing, in one transaction, with what takes it back."""

from __future__ import annotations

from dataclasses import dataclass, field

from lekiwi_deploy.errors import BadInput, Conflict, NotFound, Unavailable
from lekiwi_deploy.fleet.undoing import VariablesAgain
from lekiwi_deploy.fleet.variable_changes import Settled, check_change, settle
from lekiwi_deploy.fleet.variables import Version, checked_scope, largest_together, protected
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.redeploying import redeploy
from lekiwi_deploy.server.store import audit, installation, projects, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.variables import NewVersion
from lekiwi_deploy.server.targeting import robot_of
from lekiwi_deploy.server.variables.reach import Reach, live_readers, read_reach, undeclared
from lekiwi_deploy.wire.api import Identity
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName
from lekiwi_deploy.wire.variables import MAX_TOGETHER, ChangeVariables, Scope, VariablesChanged

MAX_REASON = 1000
_NONCE_AND_TAG = 40


@dataclass(slots=True)
class _Applied:
    deployments: dict[str, str] = field(default_factory=dict)
    rollouts: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


async def change(
    tx: Transaction, context: Context, identity: Identity, project: ProjectName, asked: ChangeVariables
) -> VariablesChanged:
    """Carries out the change and says what it came to; the values are in force from the next deployments on, or at once with `apply`.

    Raises `BadInput`, `NotFound`, `Conflict` as `check_change` and `settle`, `Unavailable` when another server made another key.
    """
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    check_change(asked)
    whose = checked_scope(asked.scope, asked.of)
    await projects.check_exists(tx, project)
    await _check_whose(tx, project, asked.scope, whose)
    await open_for_change(tx, context, project)
    reach = await read_reach(tx, context, project)
    before = await variables.revision(tx, project)
    present = await variables.at_revision(tx, project, before)
    plans = {of: _settled(context, project, asked, of, present, reach) for of in whose}
    _check_size(present, asked.scope, plans)
    changed = tuple(sorted({name for plan in plans.values() for name in plan.changed}))
    concerned = {place.environment: place for of in whose for place in reach.concerned(asked.scope, of)}
    live = live_readers(concerned.values(), changed)
    numbers: list[int] = []
    applied = _Applied()
    if not asked.dry_run:
        for of, plan in plans.items():
            if plan.changed:
                numbers.append(
                    await _write(tx, context, identity, project, asked, of, plan, live if asked.apply else ())
                )
        if asked.apply:
            for environment in live:
                await _apply(tx, context, identity, reach, environment, asked.reason, changed, applied)
    unknown, services = undeclared(concerned.values(), [one.name for one in asked.set])
    return VariablesChanged(
        revision=await variables.revision(tx, project),
        changed=changed,
        environments=live,
        added=_all(plans, "added"),
        updated=_all(plans, "updated"),
        removed=_all(plans, "removed"),
        unchanged=tuple(sorted(set(_all(plans, "unchanged")) - set(changed))),
        secrets=tuple(sorted({one.name for plan in plans.values() for one in plan.settings if one.secret})),
        undeclared=unknown,
        services=services,
        deployments=applied.deployments,
        rollouts=applied.rollouts,
        waiting=applied.waiting,
        nobody=not concerned,
        dry_run=asked.dry_run,
        undo=f"lekiwi undo {numbers[-1]}" if numbers else "",
    )


async def put_back(
    tx: Transaction, context: Context, project: ProjectName, again: VariablesAgain, by: str
) -> VariablesAgain:
    """Makes the names of a scope what they were at revision `again.before`, as new versions; returns how to take that back.

    Values are not opened for that. Raises `Conflict` when somebody changed one of them after `again.after`.
    """
    await open_for_change(tx, context, project)
    newest = await variables.revision(tx, project)
    now = _of_scope(await variables.at_revision(tx, project, newest), again.scope, again.of)
    was = _of_scope(await variables.at_revision(tx, project, again.before), again.scope, again.of)
    for name in again.names:
        if name in now and now[name].revision > again.after:
            raise Conflict(f"{name} was changed again since, by {now[name].by}", next=(f"lekiwi env history {name}",))
    back: list[NewVersion] = []
    for name in again.names:
        old, new = was.get(name), now.get(name)
        if new is None or (old.sealed if old else None) == new.sealed:
            continue
        back.append(
            NewVersion(
                scope=again.scope,
                of=again.of,
                name=name,
                sealed=old.sealed if old is not None else None,
                secret=old.secret if old is not None else new.secret,
                fingerprint=old.fingerprint if old is not None else "",
            )
        )
    after = await variables.add(tx, project, back, by, context.now())
    return VariablesAgain(
        scope=again.scope, of=again.of, names=again.names, before=newest, after=after, applied=again.applied
    )


async def open_for_change(tx: Transaction, context: Context, project: str) -> None:
    """Only this transaction changes the project's variables until it ends, and with the key that all servers use."""
    await variables.lock(tx, project)
    if await installation.variables_key(tx) != context.vault.key.check:
        raise Unavailable(
            "another server of this database made a new key for variables: start this one again with that key",
            next=("lekiwi server --variables-key FILE",),
        )


def _of_scope(versions: list[Version], scope: str, of: str) -> dict[str, Version]:
    return {version.name: version for version in versions if (version.scope, version.of) == (scope, of)}


def _all(plans: dict[str, Settled], what: str) -> tuple[str, ...]:
    return tuple(sorted({name for plan in plans.values() for name in getattr(plan, what)}))


async def _check_whose(tx: Transaction, project: ProjectName, scope: Scope, whose: tuple[str, ...]) -> None:
    for of in whose:
        if scope is Scope.ENVIRONMENT:
            try:
                await projects.environment(tx, project, of)
            except NotFound as error:
                raise NotFound(error.message, next=(f"lekiwi environments create {of}",)) from None
        elif scope is Scope.ROBOT:
            await robot_of(tx, project, None, of)


def _settled(
    context: Context, project: str, asked: ChangeVariables, of: str, present: list[Version], reach: Reach
) -> Settled:
    option = {
        Scope.PROJECT: "", Scope.ENVIRONMENT: f" -e {of}", Scope.BRANCH: f" --branch '{of}'", Scope.TAG: f" --tag '{of}'", Scope.ROBOT: f" -r {of}"
    }[asked.scope]  # fmt: skip
    guarded = asked.scope in (Scope.ENVIRONMENT, Scope.ROBOT) and any(
        protected(place.policy) for place in reach.concerned(asked.scope, of)
    )
    return settle(
        asked,
        _of_scope(present, asked.scope, of),
        f"{asked.scope} {of}".strip() if of else "the project",
        option,
        guarded=guarded,
        print_of=lambda name, value: context.vault.key.fingerprint(project, name, value),
    )


def _check_size(present: list[Version], scope: Scope, plans: dict[str, Settled]) -> None:
    gone = {(scope, of, name) for of, plan in plans.items() for name in plan.changed}
    sizes = [(v.name, len(v.sealed) - _NONCE_AND_TAG) for v in present if v.sealed and v.key not in gone]
    sizes += [(one.name, len(one.value.encode())) for plan in plans.values() for one in plan.settings]
    together = largest_together(sizes)
    if together > MAX_TOGETHER:
        raise BadInput(
            f"all variables together would have {together} bytes, a robot gets at most {MAX_TOGETHER}: deploy large ones as files"
        )


async def _write(
    tx: Transaction,
    context: Context,
    identity: Identity,
    project: ProjectName,
    asked: ChangeVariables,
    of: str,
    plan: Settled,
    applied: tuple[EnvironmentName, ...],
) -> int:
    before = await variables.revision(tx, project)
    new = [
        NewVersion(
            scope=asked.scope,
            of=of,
            name=one.name,
            sealed=context.vault.key.seal(project, asked.scope, of, one.name, one.value, context.random),
            secret=one.secret,
            fingerprint=one.fingerprint,
        )
        for one in plan.settings
    ]
    new += [
        NewVersion(scope=asked.scope, of=of, name=name, sealed=None, secret=False, fingerprint="")
        for name in plan.removed
    ]
    after = await variables.add(tx, project, new, identity.name, context.now())
    detail = {
        "set": sorted((*plan.added, *plan.updated)), "added": plan.added, "removed": plan.removed, "revision": after, "applied": applied,
        "scope": "" if asked.scope is Scope.PROJECT else asked.scope, "of": of, "reason": asked.reason,
    }  # fmt: skip
    return await audit.record(
        tx,
        identity.name,
        "variables.change",
        f"project/{project}" + (f"/{of}" if asked.scope is Scope.ENVIRONMENT else ""),
        detail,
        reason=asked.reason,
        undo=VariablesAgain(scope=asked.scope, of=of, names=plan.changed, before=before, after=after, applied=applied),
    )


async def _apply(
    tx: Transaction,
    context: Context,
    identity: Identity,
    reach: Reach,
    environment: EnvironmentName,
    reason: str,
    changed: tuple[str, ...],
    into: _Applied,
) -> None:
    place = reach.place(environment)
    if place is None or place.live is None:
        return
    why = reason or f"variables: {', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}"
    made = await redeploy(
        tx, context, of=place.live, environment=environment, by=identity.name, reason=why, message=why
    )
    into.deployments[environment] = made.row.id
    if made.rollout is not None:
        into.rollouts[environment] = made.rollout
    elif made.request is not None:
        into.waiting[environment] = f"waits for approval: lekiwi approve {made.row.id} -e {environment}"
