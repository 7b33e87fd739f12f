"""The history of changes: one row in the transaction of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from lekiwi_deploy.fleet.undoing import Inverse
from lekiwi_deploy.server.origin import origin as origin_now
from lekiwi_deploy.server.origin import reason as reason_now
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


@dataclass(frozen=True, slots=True)
class Asked:
    """Which changes: whose target is one of `targets` or below one (empty: any); not older than `since`; of `kinds`, actions (`environment.rollback`)
    or what they begin with (`environment`)."""

    targets: tuple[str, ...] = ()
    since: datetime | None = None
    kinds: tuple[str, ...] = ()


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
    said = reason or str(what.get("reason") or "") or reason_now()
    await tx.notify("activity", target.split("/")[1] if target.startswith("project/") else "")
    return await tx.one(
        "INSERT INTO audit (actor, action, target, detail, reason, undo, origin) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING seq",
        (actor, action, target, jsonb(what), said, jsonb(undo) if undo is not None else None, origin or origin_now()),
        int,
    )


async def newest(
    tx: Transaction,
    limit: int,
    asked: Asked | tuple[str, ...] = (),
    *,
    before: int | None = None,
    after: int | None = None,
) -> list[Change]:
    """The latest changes, newest first; `asked`: which (a tuple: of these targets). `before`: only those with a smaller number; `after`: with a
    larger one."""
    which = asked if isinstance(asked, Asked) else Asked(targets=asked)
    return await tx.rows(
        f"SELECT * FROM audit WHERE {_WHICH} ORDER BY seq DESC LIMIT %(limit)s",
        {**_params(which), "limit": limit, "before": before, "after": after},
        Change,
    )


async def oldest(tx: Transaction, limit: int, asked: Asked, *, after: int) -> list[Change]:
    """Changes with a number above `after`, oldest first."""
    return await tx.rows(
        f"SELECT * FROM audit WHERE {_WHICH} ORDER BY seq LIMIT %(limit)s",
        {**_params(asked), "limit": limit, "before": None, "after": after},
        Change,
    )


_WHICH = """
(%(targets)s::text[] = '{}' OR target = ANY(%(targets)s) OR target LIKE ANY(%(below)s))
AND (%(before)s::bigint IS NULL OR seq < %(before)s) AND (%(after)s::bigint IS NULL OR seq > %(after)s)
AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
AND (%(kinds)s::text[] = '{}' OR action = ANY(%(kinds)s) OR split_part(action, '.', 1) = ANY(%(kinds)s))
"""


def _params(asked: Asked) -> dict[str, object]:
    return {
        "targets": list(asked.targets),
        "below": [f"{_literal(target)}/%" for target in asked.targets],
        "since": asked.since,
        "kinds": list(asked.kinds),
    }


async def read(tx: Transaction, seq: int) -> Change | None:
    """The change of that number."""
    return await tx.row("SELECT * FROM audit WHERE seq = %s", (seq,), Change)


async def mark_undone(tx: Transaction, seq: int, by: int | None) -> None:
    """Notes that the change `by` took `seq` back; None: that was taken back itself, so `seq` holds again."""
    await tx.execute("UPDATE audit SET undone_by = %s WHERE seq = %s", (by, seq))


async def made_by_this(tx: Transaction, undoes: int) -> int:
    """The first change that this transaction made and that can be taken back; all of its changes note that they take `undoes` back. Raises
    `LookupError` when it made none."""
    made = await tx.rows(
        """
        WITH mine AS (
            UPDATE audit SET detail = detail || jsonb_build_object('undoes', %(undoes)s::bigint)
            WHERE seq > %(undoes)s AND xmin = pg_current_xact_id()::xid RETURNING seq, undo IS NOT NULL AS able
        ) SELECT seq FROM mine ORDER BY NOT able, seq LIMIT 1
        """,
        {"undoes": undoes},
        int,
    )
    if not made:
        raise LookupError(f"nothing was done to take {undoes} back")
    return made[0]


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
