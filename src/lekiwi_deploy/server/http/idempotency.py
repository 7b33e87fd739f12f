"""A POST with an `Idempotency-Key` takes effect once, however often it is sent: the same answer is given again.

Only answers of success are kept; a refused request changed nothing and may be sent again under its key. Answers may hold
secrets (new tokens), so they are stored sealed with a key derived from what the asker sends. So may requests (values of variables): what is
stored of them is a digest under such a key, of no use to whoever would guess what was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from nacl.secret import SecretBox

from lekiwi_deploy.errors import BadInput, LekiwiError, TooLarge, Unavailable
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import idempotency

_log = logging.getLogger("lekiwi.http")

MAX_REQUEST = 64_000_000
MAX_ANONYMOUS = 100_000
MAX_KEPT = 1_000_000
PATIENCE_S = 30.0


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Idempotency:
    """ASGI middleware around the API; see the module."""

    def __init__(self, context: Context, app: ASGIApp) -> None:
        self._context, self._app = context, app
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on everything but POSTs below /api with the header."""
        if scope["type"] == ScopeType.WEBSOCKET or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        key = headers.get(b"idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= 200 or not all(33 <= byte <= 126 for byte in key):
            raise BadInput("the Idempotency-Key must be 1-200 visible ASCII characters")
        authorization = headers.get(b"authorization", b"")
        actor = ""
        if authorization:
            actor = (await self._context.auth.identify(authorization.decode("latin-1"))).token
        body = await _body(receive, MAX_REQUEST if actor else MAX_ANONYMOUS)
        whole = b"\0".join([scope["method"].encode(), scope["raw_path"], scope["query_string"], body])
        request = hmac.digest(b"\0".join([b"request", key, authorization]), whole, "sha256").hex()
        # Without a token to tell askers apart, the body does: it holds the join token.
        name = hashlib.sha256(b"\0".join([actor.encode(), b"" if actor else request.encode(), key])).hexdigest()
        box = SecretBox(hashlib.sha256(b"\0".join([b"answer", key, authorization, request.encode()])).digest())
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:  # in this process one at a time; the database keeps other processes apart
            await self._once(scope, send, name, actor, request, body, box)

    async def _once(
        self, scope: HTTPScope, send: Send, key: str, actor: str, request: str, body: bytes, box: SecretBox
    ) -> None:
        kept = await self._claim(key, actor, request)
        if kept is not None:
            answer = msgspec.msgpack.decode(box.decrypt(kept), type=_Answer)
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": [*answer.headers, (b"idempotent-replayed", b"true")],
                }
            )
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})
            return
        recorded = _Recorder()
        scope.setdefault("state", {})["idempotency_key"] = key
        try:
            await self._app(scope, _replayed(body), recorded)
        finally:
            # Also when the asker hung up: what was done is done, and the answer waits for its next try.
            await asyncio.shield(self._settle(key, recorded, box))
        for message in recorded.messages:
            await send(message)

    async def _claim(self, key: str, actor: str, request: str) -> bytes | None:
        """None: carry it out. Bytes: the sealed answer. Waits while another process is at it."""
        context = self._context
        with context.nudges.subscribe("idempotency", key) as settled:
            for _ in range(int(PATIENCE_S)):
                async with context.database.transaction() as tx:
                    found = await idempotency.claim(
                        tx, key=key, actor=actor, request=request, replica=context.replica, now=context.now()
                    )
                if found is True:
                    return None
                if isinstance(found, bytes):
                    return found
                await settled.wait(1.0)
        raise Unavailable("the same request is still under way: ask again in a moment")

    async def _settle(self, key: str, recorded: _Recorder, box: SecretBox) -> None:
        answer = recorded.answer()
        try:
            async with self._context.database.transaction() as tx:
                if answer is not None and 200 <= answer.status < 300 and len(answer.body) <= MAX_KEPT:
                    await idempotency.keep(tx, key, bytes(box.encrypt(msgspec.msgpack.encode(answer))))
                else:
                    await idempotency.give_up(tx, key)
        except LekiwiError as error:
            _log.warning("the answer to a request with an Idempotency-Key could not be kept: %s", error.message)


class _Recorder:
    """An ASGI `send` that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self) -> _Answer | None:
        """The whole answer, or None when there is none."""
        if not self.messages or self.messages[0]["type"] != "http.response.start":
            return None
        start, body = self.messages[0], b""
        for message in self.messages[1:]:
            if message["type"] == "http.response.body":
                body += message["body"]
        kept = {b"content-type", b"content-length", b"location"}
        return _Answer(start["status"], [(n, v) for n, v in start["headers"] if n.lower() in kept], body)


async def _body(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the request ended before its body was complete")
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"the request's body is over {limit // 1000} kB")
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes) -> Receive:
    sent = False

    async def receive() -> Any:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
