"""An application on a real port of this process, for tests that speak HTTP."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import uvicorn

from lekiwi_deploy.server.auth import new_token, token_digest
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.protocol import BoundedHttp
from lekiwi_deploy.server.store import tokens
from lekiwi_deploy.wire.api import Role, TokenInfo
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.link import MAX_FRAME


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()
        self.leave = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.leave.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The URL at which `app` answers for as long as the context lasts, set up as in production."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server._serve([listener]))
    await asyncio.wait_for(server.answering.wait(), 10)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave.set()
        await task


@dataclass(frozen=True)
class Asker:
    """Asks a served API with one token. `ask` gives status, headers and the decoded JSON (None: no body)."""

    http: httpx.AsyncClient
    token: str

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, httpx.Headers, Any]:
        """`headers` by name with `_` for `-`."""
        named = {"authorization": f"Bearer {self.token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        content = body if isinstance(body, bytes) else None if body is None else encode(body)
        answer = await self.http.request(method, path, content=content, headers=named)
        return answer.status_code, answer.headers, answer.json() if answer.content else None


async def make_token(context: Context, role: Role, name: str = "", *, days: float = 1) -> tuple[str, str]:
    """A token's secret and its id."""
    secret = new_token("pat", secrets.token_bytes)
    now = context.now()
    info = TokenInfo(
        id=f"tok_{secrets.token_hex(4)}",
        name=name or str(role),
        role=role,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    async with context.database.transaction() as tx:
        await tokens.insert(tx, info, token_digest(secret))
    return secret, info.id
