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
