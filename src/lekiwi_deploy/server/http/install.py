"""Where a machine that has nothing yet gets the agent from. Public: it is the same code for everybody, and no secret is in it."""

from __future__ import annotations

import asyncio
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.asked_url import url_as_asked
from lekiwi_deploy.server.http.content import OCTETS
from lekiwi_deploy.server.http.ranges import parse_range
from lekiwi_deploy.wire.agents import AgentBundle, AgentRelease

_Request = Request[Any, Any, Any]


@get("/install.sh", public=True, include_in_schema=False)
async def show_install_script(context: Context, request: _Request) -> Response[str]:
    """The script for `curl … | sudo sh`, with this server's URL in it."""
    text = files("lekiwi_deploy.server.agent_bundle").joinpath("install.sh").read_text()
    text = text.replace("'@SERVER@'", shlex.quote(url_as_asked(context, request)))
    return Response(text, media_type="text/x-shellscript; charset=utf-8", headers={"cache-control": "no-cache"})


@get("/agent", public=True)
async def show_agent(context: Context) -> AgentRelease:
    """The agent that this server gives to robots, and the digest of the list of all that may be in it."""
    return await context.agent_bundles.release()


@get("/agent/{platform:str}", public=True)
async def show_bundle(context: Context, platform: str) -> AgentBundle:
    """Which archive serves a platform. Made when first asked for: that takes some seconds."""
    bundle, _ = await context.agent_bundles.bundle(platform)
    return bundle


@get("/agent/{platform:str}/bundle", public=True)
async def get_bundle(context: Context, request: _Request, platform: str) -> Response[bytes]:
    """The archive. Its ETag is its SHA-256; `Range` goes on where a download ended."""
    bundle, path = await context.agent_bundles.bundle(platform)
    tag = f'"{bundle.digest}"'
    headers = {"etag": tag, "accept-ranges": "bytes", "x-lekiwi-release": bundle.release}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    start, length, status = 0, bundle.size, 200
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range") in (None, tag):
        found = parse_range(wanted, bundle.size)
        if found is not None:
            (start, length), status = found, 206
            headers["content-range"] = f"bytes {start}-{start + length - 1}/{bundle.size}"
            if length == 0:
                return Response(b"", status_code=416, headers={**headers, "content-range": f"bytes */{bundle.size}"})
    data = await asyncio.to_thread(_read, path, start, length)
    return Response(data, status_code=status, media_type=OCTETS, headers=headers)


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


handlers = [show_install_script, show_agent, show_bundle, get_bundle]
