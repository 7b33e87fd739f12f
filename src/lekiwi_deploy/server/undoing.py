"""Taking a change back: which one, whether that may be done now, and doing it."""

from __future__ import annotations

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet import undoing as decide
from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.activity import change_view
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, projects, rollouts
from lekiwi_deploy.server.store.audit import Change
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.undoing_acts import Act, carry_out
from lekiwi_deploy.server.undoing_present import present
from lekiwi_deploy.wire.api import Identity
from lekiwi_deploy.wire.changes import Undo, Undone
from lekiwi_deploy.wire.ids import DeploymentId, ProjectName, RolloutId

MAX_REASON = 1000
SCANNED = 1000
"""So many changes are looked through for the newest that can be taken back."""


async def undo(tx: Transaction, context: Context, identity: Identity, project: ProjectName, asked: Undo) -> Undone:
    """Takes back the change that `asked` means; with `dry_run` only says which, and what that would do.

    Raises `NotFound` (no such change, or none that can be taken back) and `Conflict` (something newer is in the way, which is named).
    """
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    await projects.check_exists(tx, project)
    if asked.environment is not None:
        await projects.environment(tx, project, asked.environment)
    change = await _meant(tx, project, asked)
    assert change.undo is not None
    await _check(tx, project, change, change.undo)
    shown, said = change_view(change), decide.text(change.undo)
    told = Undone(change=change.seq, text=said, done=False, was=shown.text, by=change.actor, at=change.at)
    if asked.dry_run:
        return told
    act = Act(tx, context, identity, project, asked.reason, change.seq)
    rollout = await carry_out(act, change.undo)
    made = await audit.made_by_this(tx, change.seq)
    again = change.detail.get("undoes")
    if isinstance(again, int):  # it is in force again, so it can be taken back again
        await audit.mark_undone(tx, again, None)
    await audit.mark_undone(tx, change.seq, made)
    return Undone(
        change=change.seq,
        text=said,
        done=True,
        rollout=rollout,
        deployment=await _deployment(tx, rollout),
        was=shown.text,
        by=change.actor,
        at=change.at,
        redo=f"lekiwi undo {made}",
    )


async def _deployment(tx: Transaction, rollout: RolloutId | None) -> DeploymentId | None:
    row = await rollouts.read(tx, rollout) if rollout is not None else None
    return row.deployment if row is not None else None


async def _meant(tx: Transaction, project: ProjectName, asked: Undo) -> Change:
    if asked.change is not None:
        change = await audit.read(tx, asked.change) if 0 < asked.change < 2**62 else None
        if change is None or not _of(change, project, asked.environment):
            where = f"{project}/{asked.environment}" if asked.environment else project
            raise NotFound(f"{where} has no change {asked.change}", next=("lekiwi activity",))
        if change.undone_by is not None:
            raise Conflict(
                f"change {change.seq} was taken back already, by change {change.undone_by}",
                next=(f"lekiwi undo {change.undone_by}",),
            )
        if change.undo is None:
            raise Conflict(
                f"change {change.seq} cannot be taken back: it {change_view(change).text}", next=("lekiwi activity",)
            )
        return change
    target = f"project/{project}" + (f"/{asked.environment}" if asked.environment is not None else "")
    for change in await audit.newest(tx, SCANNED, (target,)):
        if change.undo is not None and change.undone_by is None and "undoes" not in change.detail:
            return change
    where = f"{project}/{asked.environment}" if asked.environment else project
    raise NotFound(f"{where} has no change that can be taken back", next=("lekiwi activity",))


def _of(change: Change, project: ProjectName, environment: str | None) -> bool:
    below = f"project/{project}" + (f"/{environment}" if environment is not None else "")
    return change.target == below or change.target.startswith(f"{below}/")


async def _check(tx: Transaction, project: ProjectName, change: Change, inverse: Inverse) -> None:
    """Raises `Conflict` when it is not what the change left any more."""
    if why := decide.nothing_before(inverse):
        raise Conflict(f"change {change.seq} cannot be taken back: {why}", next=("lekiwi list",))
    now = await present(tx, project, inverse)
    if now.gone:
        raise Conflict(f"change {change.seq} cannot be taken back: {now.gone}", next=("lekiwi activity",))
    if now.value == decide.after(inverse):
        return
    newer = await _newer(tx, project, change, inverse)
    if newer is None:
        raise Conflict(
            f"change {change.seq} cannot be taken back: things have moved on since, without a change that could be",
            next=("lekiwi activity",),
        )
    shown = change_view(newer)
    raise Conflict(
        f"a newer change is in the way: {newer.seq}, by {newer.actor} at {newer.at:%d %b %H:%M} UTC, {shown.text}"
        + (": take that back first" if shown.undo else ""),
        next=(shown.undo,) if shown.undo else ("lekiwi activity",),
        details={"change": newer.seq, "by": newer.actor},
    )


async def _newer(tx: Transaction, project: ProjectName, change: Change, inverse: Inverse) -> Change | None:
    """The newest change of the same thing after `change`."""
    subject = decide.subject(inverse)
    for one in await audit.newest(tx, SCANNED, (f"project/{project}",), after=change.seq):
        if one.undo is not None and one.undone_by is None and decide.subject(one.undo) == subject:
            return one
        if one.action == "environment.recover" and subject[0] == "live" and one.target.endswith(f"/{subject[1]}"):
            return one
    return None
