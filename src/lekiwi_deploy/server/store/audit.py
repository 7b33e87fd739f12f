"""The history of changes: one row in the transaction of each."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.server.store.database import Transaction, jsonb
from lekiwi_deploy.wire.api import Audit


async def record(
    tx: Transaction, actor: str, action: str, target: str, detail: Mapping[str, object] | None = None
) -> None:
    """Notes that `actor` (a token's name, or `robot/…`) did `action` (`project.create`, …) to `target` (`project/web`, …).

    `detail` holds JSON values that explain it, never a secret.
    """
    await tx.execute(
        "INSERT INTO audit (actor, action, target, detail) VALUES (%s, %s, %s, %s)",
        (actor, action, target, jsonb(dict(detail or {}))),
    )


async def newest(tx: Transaction, limit: int, targets: tuple[str, ...] = ()) -> list[Audit]:
    """The latest changes, newest first; with `targets` only those whose target is one of them or below one."""
    if not targets:
        return await tx.rows("SELECT * FROM audit ORDER BY seq DESC LIMIT %s", (limit,), Audit)
    return await tx.rows(
        "SELECT * FROM audit WHERE target = ANY(%s) OR target LIKE ANY(%s) ORDER BY seq DESC LIMIT %s",
        (list(targets), [f"{_literal(target)}/%" for target in targets], limit),
        Audit,
    )


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
