"""Enrolment tokens: each lets one machine become one robot, once, for a quarter of an hour."""

from __future__ import annotations

from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.ids import RobotId


class JoinToken(msgspec.Struct, frozen=True):
    """A token as stored, by the SHA-256 of its secret."""

    robot: RobotId
    expires_at: datetime
    used_at: datetime | None


async def insert(tx: Transaction, digest: bytes, robot: str, by: str, now: datetime, expires_at: datetime) -> None:
    """A new token for `robot`; those that were made for it before are void."""
    await tx.execute("DELETE FROM join_tokens WHERE robot = %s AND used_at IS NULL", (robot,))
    await tx.execute(
        "INSERT INTO join_tokens (digest, robot, created_by, created_at, expires_at) VALUES (%s, %s, %s, %s, %s)",
        (digest, robot, by, now, expires_at),
    )


async def use(tx: Transaction, digest: bytes, now: datetime) -> RobotId | None:
    """Uses a token up and returns its robot; None: there is no such token that is unused and not expired."""
    return await tx.row(
        "UPDATE join_tokens SET used_at = %(now)s WHERE digest = %(digest)s AND used_at IS NULL AND expires_at > %(now)s "
        "RETURNING robot",
        {"digest": digest, "now": now},
        RobotId,
    )


async def read(tx: Transaction, digest: bytes) -> JoinToken | None:
    """The token, to say why it could not be used."""
    return await tx.row("SELECT robot, expires_at, used_at FROM join_tokens WHERE digest = %s", (digest,), JoinToken)
