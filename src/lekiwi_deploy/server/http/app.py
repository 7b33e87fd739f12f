"""The server's one ASGI application: dispatch by path, who asks, what they may, and errors that read as `ErrorBody`.

How a handler in `http/<noun>.py` is written (list it in the module's `handlers`):

    @get("/api/projects/{project:str}", role=Role.VIEWER)
    async def show(context: Context, identity: Identity, project: str) -> Project: ...

Parameters of these names are injected: `context`, `identity` (who asks) and `idempotency_key` (`str | None`: the `Idempotency-Key`
of this request made unique to its asker, for columns of that name). `role=` is the least role that may call it (viewer when not
given); `public=True` lets anyone call it, without `identity`. Raise `LekiwiError`s; return wire structs. Annotations are
read at run time: import their types for real, not under TYPE_CHECKING. A body is a parameter `data: SomeStruct`; at most 16 MB
unless `request_max_body_size=` says otherwise.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar import Litestar, Request, Router
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp, Receive, Scope, Send

from lekiwi_deploy import __version__
from lekiwi_deploy.errors import BadInput, LekiwiError
from lekiwi_deploy.server.auth import require
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.errors import EXCEPTION_HANDLERS, send_error
from lekiwi_deploy.server.http.idempotency import Idempotency
from lekiwi_deploy.server.origin import coming_from, of_request, reason_of_request
from lekiwi_deploy.wire.api import Identity, Role

MAX_BODY = 16_000_000


async def _authorised(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Runs before every handler: an identity for all but public ones, and the role that the handler asks for."""
    if handler.opt.get("public"):
        return
    context: Context = connection.app.state["context"]
    identity = await context.auth.identify(connection.headers.get("authorization"))
    require(identity, handler.opt.get("role", Role.VIEWER))
    connection.scope["state"]["identity"] = identity


def _identity(request: Request[Any, Any, Any]) -> Identity:
    identity: Identity = request.scope["state"]["identity"]
    return identity


def _idempotency_key(request: Request[Any, Any, Any]) -> str | None:
    key: str | None = request.scope["state"].get("idempotency_key")
    return key


def api(context: Context, handlers: list[Any]) -> Litestar:
    """The Litestar part: /api, /content, health."""
    with warnings.catch_warnings():
        # Litestar 3 will want dependencies marked in every signature; we require Litestar 2, where names are enough.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _litestar(context, handlers)


def _litestar(context: Context, handlers: list[Any]) -> Litestar:
    return Litestar(
        route_handlers=handlers,
        dependencies={
            "context": Provide(lambda: context, sync_to_thread=False),
            "identity": Provide(_identity, sync_to_thread=False),
            "idempotency_key": Provide(_idempotency_key, sync_to_thread=False),
        },
        guards=[_authorised],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=OpenAPIConfig(
            title="LeKiwi Deploy",
            version=__version__,
            openapi_router=Router(path="/api/schema", route_handlers=[], opt={"public": True}),
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        request_max_body_size=MAX_BODY,
        logging_config=None,
        state=State({"context": context}),
    )


class App:
    """Sends each request to the part that serves its path."""

    def __init__(
        self,
        *,
        api: ASGIApp,
        git: ASGIApp,
        hooks: ASGIApp,
        link: Callable[[Scope, Receive, Send], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        self._api, self._git, self._hooks, self._link, self._stopping = api, git, hooks, link, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == ScopeType.WEBSOCKET:
            if path != "/link":
                await send({"type": "websocket.close", "code": 4404, "reason": "the link is at /link"})
                return
            await self._link(scope, receive, send)
            return
        try:
            refuse_token_in_url(scope)
            with coming_from(of_request(scope), reason_of_request(scope)):
                if path.startswith("/git/"):
                    await self._git(scope, receive, send)
                elif path.startswith("/internal/git/"):
                    await self._hooks(scope, receive, send)
                elif scope["method"] == "GET":
                    await self._api(scope, _until(self._stopping, receive), send)
                else:
                    await self._api(scope, receive, send)
        except LekiwiError as error:
            await send_error(send, error)


def _until(stopping: asyncio.Event, receive: Receive) -> Receive:
    """`receive` for a request without a body, which tells of a disconnect when the server is about to stop: that ends streams."""
    asked = False

    async def receive_or_stop() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return await receive()
        leaving = asyncio.ensure_future(receive())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((leaving, stop), return_when=asyncio.FIRST_COMPLETED)
            return leaving.result() if leaving.done() else {"type": "http.disconnect"}
        finally:
            leaving.cancel()
            stop.cancel()

    return receive_or_stop


def refuse_token_in_url(scope: Scope) -> None:
    """Raises `BadInput` when a token stands in the path or query: it would end up in histories and logs."""
    if b"lkd_" in unquote_to_bytes(scope["query_string"]) or b"lkd_" in unquote_to_bytes(scope["raw_path"]):
        raise BadInput(
            "a token does not belong in a URL, where histories and logs keep it: revoke it, make another one and send it as "
            "'Authorization: Bearer <token>'",
            next=("lekiwi login URL --token-stdin",),
        )


def build_app(context: Context) -> App:
    """The whole application for `context`."""
    from lekiwi_deploy.server.git.bridge import GitBridge
    from lekiwi_deploy.server.git.hooks import HookEndpoint
    from lekiwi_deploy.server.http.nouns import HANDLERS
    from lekiwi_deploy.server.link import LinkEndpoint

    return App(
        api=Idempotency(context, api(context, HANDLERS)),
        git=GitBridge(context),
        hooks=HookEndpoint(context),
        link=LinkEndpoint(context),
        stopping=context.stopping,
    )
