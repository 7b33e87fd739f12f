"""`POST /internal/git/{pre-receive,post-receive}`: what git's hooks ask, answered line by line while the work goes on.

The work is the server's: a hook that dies ends a build, because its push cannot come about any more; a user who stops looking does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from typing import Any

from lekiwi_deploy.errors import LekiwiError, NotAllowed, NotFound
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.follow_push import follow_push
from lekiwi_deploy.server.git.push import HookCall, Say, receive_push
from lekiwi_deploy.server.git.transcript import warned
from lekiwi_deploy.server.origin import coming_from, origin

MAX_BODY = 20 << 20
ALIVE_S = 10.0
_log = logging.getLogger("lekiwi.git")


class HookEndpoint:
    """The ASGI callable for `/internal/git/…`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One hook call. Raises `LekiwiError` for what does not come from a hook of this process."""
        name = scope["path"].removeprefix("/internal/git/")
        if name not in ("pre-receive", "post-receive") or scope["method"] != "POST":
            raise NotFound("there is nothing here")
        given = [value for key, value in scope["headers"] if key == b"authorization"]
        if len(given) != 1 or not hmac.compare_digest(given[0], f"Bearer {self._context.hook_secret}".encode()):
            raise NotAllowed("only the hooks of this server may ask this")
        call = read_call(await _body(receive))
        with coming_from(call.env.get("LEKIWI_PUSH_FROM") or origin()):
            await _Answer(self._context, receive, send).give(name, call)


def read_call(body: bytes) -> HookCall:
    """What `hook.py` sent."""
    parts = [part.partition("=") for part in body.decode("utf-8", "replace").split("\0")]
    values = {key: value for key, _, value in parts if key != "option"}
    return HookCall(
        updates=values.pop("updates", ""),
        options=tuple(value for key, _, value in parts if key == "option"),
        folder=values.pop("folder", ""),
        env=values,
    )


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise NotAllowed("the hook went away")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise NotAllowed("the push changes too many refs at once: push fewer")
        if not message.get("more_body", False):
            return b"".join(parts)


class _Answer:
    def __init__(self, context: Context, receive: Any, send: Any) -> None:
        self._context = context
        self._receive = receive
        self._send = send
        self._sending = asyncio.Lock()

    async def give(self, name: str, call: HookCall) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        work = asyncio.create_task(self._work(name, call))
        gone = asyncio.create_task(self._gone())
        alive = asyncio.create_task(self._alive())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return
            code = work.result()
            await self._write(f"!{code}\n".encode())
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            for task in (work, gone, alive):
                task.cancel()
            await asyncio.gather(work, gone, alive, return_exceptions=True)

    async def _work(self, name: str, call: HookCall) -> int:
        say: Say = self._say
        try:
            if name == "pre-receive":
                return await receive_push(self._context, call, say)
            return await follow_push(self._context, call, say)
        except LekiwiError as error:
            await self._say(warned("", error.message))
            for command in error.next:
                await self._say(f"       {command}")
            return 1
        except Exception:
            _log.exception("%s of %s", name, call.env.get("LEKIWI_PROJECT"))
            await self._say(warned("", "the server made a mistake; its log has the particulars"))
            return 1

    async def _say(self, line: str) -> None:
        await self._write(b"=" + line.replace("\n", " ").encode("utf-8", "replace") + b"\n")

    async def _alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_S)
            await self._write(b"\n")

    async def _write(self, data: bytes) -> None:
        async with self._sending:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _gone(self) -> None:
        with contextlib.suppress(OSError):
            while (await self._receive())["type"] != "http.disconnect":
                continue
