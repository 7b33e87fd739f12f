"""A change of the history as people are shown it."""

from __future__ import annotations

from lekiwi_deploy.fleet.sentences import sentence
from lekiwi_deploy.server.store.audit import Change
from lekiwi_deploy.wire.api import Audit


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
