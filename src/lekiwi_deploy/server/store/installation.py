"""The one row that says which installation this is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import base62


@dataclass(frozen=True, slots=True)
class Installation:
    """`id` lasts as long as the database; `epoch` rises when it is restored from a backup; `ticket_key` signs content tickets."""

    id: str
    epoch: int
    ticket_key: bytes


async def read_or_make(tx: Transaction, random: Callable[[int], bytes]) -> Installation:
    """The installation, made when the database is new. Safe when replicas start together."""
    await tx.execute(
        "INSERT INTO server (id, ticket_key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (f"srv_{base62(random(32), 16)}", random(32)),
    )
    return await tx.one("SELECT id, epoch, ticket_key FROM server", None, Installation)


async def lock_variables_key(tx: Transaction) -> str | None:
    """Which key variables are sealed with, `VariablesKey.check`; None: there was none yet. Nobody else changes that in this transaction."""
    return await tx.one("SELECT COALESCE(variables_key, '') FROM server FOR UPDATE", None, str) or None


async def variables_key(tx: Transaction) -> str | None:
    """As `lock_variables_key`; it may be read by others, and is not changed until this transaction ends."""
    return await tx.one("SELECT COALESCE(variables_key, '') FROM server FOR SHARE", None, str) or None


async def set_variables_key(tx: Transaction, check: str) -> None:
    """Variables are sealed with this key from now on."""
    await tx.execute("UPDATE server SET variables_key = %s", (check,))
