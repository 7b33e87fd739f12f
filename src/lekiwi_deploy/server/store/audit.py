"""The history of changes: one row in the transaction of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.origin import origin as origin_now
from lekiwi_deploy.server.store.database import Transaction, jsonb


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `undo` None: it cannot be taken back; `undone_by`: the change that took it back."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, object]
    origin: str
    reason: str
    undo: Inverse | None
    undone_by: int | None


async def record(
    tx: Transaction,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, object] | None = None,
    *,
    reason: str = "",
    undo: Inverse | None = None,
    origin: str | None = None,
) -> int:
    """Notes that `actor` (a token's name, or `robot/…`) did `action` (`project.create`, …) to `target` (`project/web`, …), and returns the
    number of the change.

    `detail` holds JSON values that explain it, never a secret; `reason`: why, in the person's words; `undo`: how to take it back, None: it
    cannot be; `origin`: from where (None: from where the request came that this runs for).
    """
    what = dict(detail or {})
    said = reason or str(what.get("reason") or "")
    return await tx.one(
        "INSERT INTO audit (actor, action, target, detail, reason, undo, origin) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING seq",
        (actor, action, target, jsonb(what), said, jsonb(undo) if undo is not None else None, origin or origin_now()),
        int,
    )


async def newest(
    tx: Transaction,
    limit: int,
    targets: tuple[str, ...] = (),
    *,
    before: int | None = None,
    after: int | None = None,
    since: datetime | None = None,
    kinds: tuple[str, ...] = (),
) -> list[Change]:
    """The latest changes, newest first; with `targets` only those whose target is one of them or below one. `before`: only those with a smaller
    number; `after`: with a larger one; `since`: not older; `kinds`: actions (`environment.rollback`) or what they begin with (`environment`)."""
    return await tx.rows(
        """
        SELECT * FROM audit
        WHERE (%(targets)s = '{}'::text[] OR target = ANY(%(targets)s) OR target LIKE ANY(%(below)s))
          AND (%(before)s::bigint IS NULL OR seq < %(before)s) AND (%(after)s::bigint IS NULL OR seq > %(after)s)
          AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
          AND (%(kinds)s = '{}'::text[] OR action = ANY(%(kinds)s) OR split_part(action, '.', 1) = ANY(%(kinds)s))
        ORDER BY seq DESC LIMIT %(limit)s
        """,
        {
            "limit": limit,
            "targets": list(targets),
            "below": [f"{_literal(target)}/%" for target in targets],
            "before": before,
            "after": after,
            "since": since,
            "kinds": list(kinds),
        },
        Change,
    )


async def read(tx: Transaction, seq: int) -> Change | None:
    """The change of that number."""
    return await tx.row("SELECT * FROM audit WHERE seq = %s", (seq,), Change)


async def mark_undone(tx: Transaction, seq: int, by: int) -> None:
    """Notes that the change `by` took `seq` back."""
    await tx.execute("UPDATE audit SET undone_by = %s WHERE seq = %s", (by, seq))


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
