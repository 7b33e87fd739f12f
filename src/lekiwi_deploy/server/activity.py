"""A change of the history as people are shown it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lekiwi_deploy.fleet.sentences import sentence
from lekiwi_deploy.fleet.undoing import subject
from lekiwi_deploy.server.store.audit import Change
from lekiwi_deploy.wire.api import Audit


def page_view(rows: Sequence[Change], every: Sequence[Change] = ()) -> list[Audit]:
    """Changes, newest first. Only the newest of each thing can be taken back, so only that one says how; `every`: all changes since the oldest of
    `rows`, newest first, among which newer ones are."""
    blocked: set[int] = set()
    seen: set[tuple[str, ...]] = set()
    for row in every or rows:
        if row.undo is not None and subject(row.undo) in seen:
            blocked.add(row.seq)
        seen |= _subjects(row)
    return [
        msgspec.structs.replace(change_view(row), undo="") if row.seq in blocked else change_view(row) for row in rows
    ]


def _subjects(row: Change) -> set[tuple[str, ...]]:
    """What keeps older changes of the same thing from being taken back."""
    if row.action == "robot.join":
        return {("added", row.target.rpartition("/")[2])}
    holds = (
        row.undo is not None and row.undone_by is None and "undoes" not in row.detail
    )  # an undo leaves what was before
    return {subject(row.undo)} if holds and row.undo is not None else set()


def change_view(row: Change) -> Audit:
    """The row in a sentence, with the command that takes it back while that may be."""
    undoes = row.detail.get("undoes")
    said = sentence(row.action, row.target, row.detail)
    return Audit(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        target=row.target,
        detail=row.detail,
        text=f"took change {undoes} back: {said}" if isinstance(undoes, int) else said,
        origin=row.origin,
        reason=row.reason,
        undo=f"lekiwi undo {row.seq}" if row.undo is not None and row.undone_by is None else "",
        undone_by=row.undone_by,
        undoes=undoes if isinstance(undoes, int) else None,
    )
