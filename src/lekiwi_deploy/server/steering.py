"""A person steers a rollout that is under way: pause, resume, let a step begin, skip a wait, ask everybody, abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.course import Course, Pause, steps_of
from lekiwi_deploy.fleet.undoing import PauseAgain
from lekiwi_deploy.server.conducting_store import ConductingStore, Surroundings
from lekiwi_deploy.server.rollouts import begin, take_away
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.api import Identity, RolloutStatus
from lekiwi_deploy.wire.progress import Note, RolloutFinished
from lekiwi_deploy.wire.rollouts import RolloutAct

Act = Literal["pause", "resume", "approve", "skip", "complete"]
MAX_REASON = 1000
replace = msgspec.structs.replace


async def steer(
    store: ConductingStore, outside: Surroundings, identity: Identity, id: str, act: Act, asked: RolloutAct
) -> RolloutRow:
    """Does it, and says so to whoever follows. Raises `NotFound`, and `Conflict` when the rollout is over or that changes nothing."""
    row = await _open(store, id, asked)
    now = outside.now()
    match act:
        case "pause":
            if row.course.paused is not None:
                raise Conflict(
                    f"{id} is paused already, by {row.course.paused.by}", next=(f"lekiwi rollout resume {id}",)
                )
            course, said = replace(row.course, paused=Pause(identity.name, now, asked.reason)), "paused"
        case "resume":
            if row.course.paused is None:
                raise Conflict(f"{id} is not paused", next=(f"lekiwi rollout status {id}",))
            course, said = replace(row.course, paused=None), "goes on"
        case "approve":
            course, said = _approved(row), f"step {row.course.at + 1} may begin"
        case "skip":
            course, said = _skipped(row), f"step {row.course.at + 1} is skipped"
        case "complete":
            course, said = (
                replace(row.course, steps=(), at=0, passed_at=None, approved=(), paused=None, in_flight=None),
                "asks everybody now",
            )
    await store.set_course(id, course)
    await _tell(store, identity, row, act, f"{id} {said}, by {identity.name}", asked.reason)
    await store.tell(id, [Note(f"{said}, by {identity.name}" + (f": {asked.reason}" if asked.reason else ""))], now)
    await store.hint("rollout", id)
    return msgspec.structs.replace(row, course=course)


async def abort(
    store: ConductingStore, outside: Surroundings, identity: Identity, id: str, asked: RolloutAct
) -> RolloutRow:
    """Ends a rollout: nobody else is asked, and, unless `asked.keep`, robots that were go back to what their environment ran before."""
    row = await _open(store, id, asked)
    now = outside.now()
    why = f"aborted by {identity.name}" + (f": {asked.reason}" if asked.reason else "")
    await store.set_course(id, replace(row.course, stopped=why))
    await store.finish(id, RolloutStatus.CANCELED, now)
    back_to = None if asked.keep or row.kind == "robot" else row.previous
    text = why + (f"; {back_to} is live again" if back_to is not None else "")
    finished = RolloutFinished(
        status=RolloutStatus.CANCELED,
        live=row.live,
        pending=row.pending,
        failed=row.failed,
        total=row.total,
        seconds=(now - row.created_at).total_seconds(),
        undo="",
        text=text,
    )
    await store.tell(id, [finished], now, close=True)
    await _tell(store, identity, row, "abort", text, asked.reason)
    if back_to is not None and not await store.quarantine(row.project, row.environment, back_to):
        await begin(
            store,
            outside,
            deployment_id=back_to,
            environment=row.environment,
            kind="rollback",
            by=identity.name,
            reason=why,
        )
    elif not asked.keep and row.kind != "robot":
        await take_away(store, row.project, row.environment, row.deployment, now)
    await store.hint("rollout", id)
    read = await store.rollout(id)
    assert read is not None
    return read


async def _open(store: ConductingStore, id: str, asked: RolloutAct) -> RolloutRow:
    if len(asked.reason) > MAX_REASON or "\0" in asked.reason:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    row = await store.rollout(id)
    if row is None:
        raise NotFound(f"there is no rollout {id[:40]!r}", next=("lekiwi rollout status",))
    await store.lock_environment(row.project, row.environment)
    row = await store.rollout(id)
    if row is None or row.status != RolloutStatus.ROLLING:
        status = row.status if row is not None else "gone"
        raise Conflict(f"{id} is over: {status}", next=(f"lekiwi rollout status {id}",))
    return row


def _approved(row: RolloutRow) -> Course:
    course, steps = row.course, steps_of(row.course.steps)
    if course.at >= len(steps) or not steps[course.at].approval or course.at in course.approved:
        raise Conflict(
            f"step {course.at + 1} of {row.id} waits for no approval", next=(f"lekiwi rollout status {row.id}",)
        )
    return replace(course, approved=(*course.approved, course.at))


def _skipped(row: RolloutRow) -> Course:
    course, steps = row.course, steps_of(row.course.steps)
    if course.at + 1 >= len(steps):
        raise Conflict(
            f"{row.id} is in its last step: there is nothing to skip to", next=(f"lekiwi rollout status {row.id}",)
        )
    return replace(course, at=course.at + 1, passed_at=None)


async def _tell(store: ConductingStore, identity: Identity, row: RolloutRow, act: str, text: str, reason: str) -> None:
    detail: Mapping[str, object] = {"rollout": row.id, "deployment": row.deployment, "text": text, "reason": reason}
    undo = PauseAgain(rollout=row.id, paused=act == "pause") if act in ("pause", "resume") else None
    where = f"project/{row.project}/{row.environment}"
    await store.audit(identity.name, f"rollout.{act}", where, dict(detail), reason=reason, undo=undo)
