"""Answers to POSTs that carried an `Idempotency-Key`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.replicas import SILENT_AFTER

KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Row:
    request: str
    claimed_by: str
    answer: bytes | None
    alive: bool


async def claim(tx: Transaction, *, key: str, actor: str, request: str, replica: str, now: datetime) -> bytes | bool:
    """True: `replica` is to carry the request out now. False: it is under way elsewhere. Bytes: the answer it got before.

    What `replica` itself claimed before counts as given up: it asks only when it is not at it.

    Raises `Conflict` when another request was made under the same key.
    """
    made = await tx.execute(
        "INSERT INTO idempotency (key, actor, request, claimed_by, created_at) VALUES (%s, %s, %s, %s, %s) "
        "ON CONFLICT (key) DO NOTHING",
        (key, actor, request, replica, now),
    )
    if made.rowcount == 1:
        return True
    found = await tx.row(
        "SELECT i.request, i.claimed_by, i.answer, r.id IS NOT NULL AS alive FROM idempotency i "
        "LEFT JOIN replicas r ON r.id = i.claimed_by AND r.seen_at > %s WHERE i.key = %s FOR UPDATE OF i",
        (now - SILENT_AFTER, key),
        _Row,
    )
    if found is None:  # given up in this moment
        return False
    if found.request != request:
        raise Conflict("this Idempotency-Key was used for another request: every new request needs a new key")
    if found.answer is not None:
        return found.answer
    if found.alive and found.claimed_by != replica:
        return False
    await tx.execute("UPDATE idempotency SET claimed_by = %s, created_at = %s WHERE key = %s", (replica, now, key))
    return True


async def keep(tx: Transaction, key: str, answer: bytes) -> None:
    """Stores the answer for whoever asks again."""
    await tx.execute("UPDATE idempotency SET answer = %s WHERE key = %s", (answer, key))
    await tx.notify("idempotency", key)


async def give_up(tx: Transaction, key: str) -> None:
    """Forgets a request that changed nothing, so that it may be made again."""
    await tx.execute("DELETE FROM idempotency WHERE key = %s AND answer IS NULL", (key,))
    await tx.notify("idempotency", key)


async def drop_old(tx: Transaction, now: datetime) -> int:
    """Forgets answers that are older than `KEPT`; returns how many."""
    return (await tx.execute("DELETE FROM idempotency WHERE created_at < %s", (now - KEPT,))).rowcount
