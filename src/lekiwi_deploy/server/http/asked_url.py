"""How the one who asks reaches this server: robots that are told of it can most likely use the same address."""

from __future__ import annotations

import re
from typing import Any

from litestar import Request

from lekiwi_deploy.server.context import Context

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?\Z|\[[0-9A-Fa-f:.]+\](:\d{1,5})?\Z")


def url_as_asked(context: Context, request: Request[Any, Any, Any]) -> str:
    """This server's URL as the asker used it. The configured one when it names the same host, because only it knows of a proxy's
    HTTPS."""
    host = request.headers.get("host", "")
    if not _HOST.match(host) or context.config.url.partition("://")[2] == host:
        return context.config.url
    return f"{request.url.scheme}://{host}"
