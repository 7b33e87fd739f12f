"""Tokens of people and programs; owners only."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from litestar import delete, get, post

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.server.auth import new_token, token_digest
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, tokens
from lekiwi_deploy.wire.api import Identity, NewToken, Role, TokenInfo
from lekiwi_deploy.wire.ids import base62

MAX_DAYS = 365
MAX_NAME = 100


@get("/api/tokens", role=Role.OWNER)
async def list_tokens(context: Context) -> list[TokenInfo]:
    """All tokens, newest first, without their secrets."""
    async with context.database.transaction() as tx:
        return await tokens.listed(tx)


@post("/api/tokens", role=Role.OWNER)
async def create_token(context: Context, identity: Identity, data: NewToken) -> TokenInfo:
    """Makes a token; this answer is the only one that ever holds its secret."""
    if not 1 <= data.days <= MAX_DAYS:
        raise BadInput(f"a token lasts 1 to {MAX_DAYS} days, not {data.days}")
    if not 1 <= len(data.name) <= MAX_NAME or not data.name.isprintable():
        raise BadInput(f"a token's name is 1 to {MAX_NAME} printable characters: it says whose it is, or what for")
    now = context.now()
    secret = new_token("pat", context.random)
    token = TokenInfo(
        id=f"tok_{base62(context.random(16), 8)}",
        name=data.name,
        role=data.role,
        created_at=now,
        expires_at=now + timedelta(days=data.days),
    )
    async with context.database.transaction() as tx:
        await tokens.insert(tx, token, token_digest(secret))
        await audit.record(
            tx,
            identity.name,
            "token.create",
            f"token/{token.id}",
            {"name": token.name, "role": token.role, "days": data.days},
        )
    return msgspec.structs.replace(token, secret=secret)


@delete("/api/tokens/{token:str}", role=Role.OWNER)
async def revoke_token(context: Context, identity: Identity, token: str) -> None:
    """Revokes a token, at once; the last owner's is refused."""
    now = context.now()
    async with context.database.transaction() as tx:
        await tokens.lock(tx)
        found = await tokens.revoke(tx, token, now)
        if found is None:
            raise NotFound(f"there is no token {token[:40]!r}; its id begins with tok_")
        if await tokens.usable_owners(tx, now) == 0:
            raise Conflict(
                "this is the last owner's token: make another one first",
                next=("lekiwi tokens create NAME --role owner",),
            )
        await audit.record(tx, identity.name, "token.revoke", f"token/{token}", {"name": found.name})


handlers = [list_tokens, create_token, revoke_token]
