"""Tokens of people and programs. The secret itself is never stored."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.api import TokenInfo

_COLUMNS = "id, name, role, created_at, expires_at, last_used_at, revoked_at"


async def use(tx: Transaction, digest: bytes, now: datetime) -> TokenInfo | None:
    """The token with this SHA-256, revoked and expired ones too; notes the use, at most once a minute."""
    found = await tx.row(f"SELECT {_COLUMNS} FROM tokens WHERE digest = %s", (digest,), TokenInfo)
    if found is not None and (found.last_used_at is None or (now - found.last_used_at).total_seconds() >= 60):
        await tx.execute("UPDATE tokens SET last_used_at = %s WHERE id = %s", (now, found.id))
    return found


async def insert(tx: Transaction, token: TokenInfo, digest: bytes) -> None:
    """Stores a new token under the SHA-256 of its secret."""
    await tx.execute(
        "INSERT INTO tokens (id, digest, name, role, created_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s)",
        (token.id, digest, token.name, token.role, token.created_at, token.expires_at),
    )


async def listed(tx: Transaction) -> list[TokenInfo]:
    """All tokens, newest first, without secrets."""
    return await tx.rows(f"SELECT {_COLUMNS} FROM tokens ORDER BY created_at DESC, id", None, TokenInfo)


async def revoke(tx: Transaction, id: str, now: datetime) -> TokenInfo | None:
    """The token, revoked from `now` on (or from when it was before); None: there is none. Hints `revoked`."""
    found = await tx.row(
        f"UPDATE tokens SET revoked_at = coalesce(revoked_at, %s) WHERE id = %s RETURNING {_COLUMNS}",
        (now, id),
        TokenInfo,
    )
    if found is not None:
        await tx.notify("revoked", id)
    return found


async def usable_owners(tx: Transaction, now: datetime) -> int:
    """How many owner tokens still work."""
    return await tx.one(
        "SELECT count(*) FROM tokens WHERE role = 'owner' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)",
        (now,),
        int,
    )


async def lock(tx: Transaction) -> None:
    """Makes this transaction the only one that changes tokens, so that two owners cannot revoke each other."""
    await tx.execute("LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE")
