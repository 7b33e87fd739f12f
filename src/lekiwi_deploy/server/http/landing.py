"""What a browser finds: there is no dashboard yet, so these pages say what this is and which command shows what was asked for.

Public, and therefore silent about everything that the server knows.
"""

from __future__ import annotations

import re
from html import escape

from litestar import MediaType, Response, get
from litestar.response import Redirect

from lekiwi_deploy import __version__
from lekiwi_deploy.errors import NotFound

_DEPLOYMENT = re.compile(r"dep_[0-9A-Za-z]{8}\Z")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>LeKiwi Deploy</title>
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}}
code{{font-size:1.05em}}</style>
<h1>LeKiwi Deploy</h1>
<p>{words}</p>
<p><code>{command}</code></p>
<p><small>Server {version}; it has no dashboard yet. API: <a href="/api/schema/openapi.json">OpenAPI</a></small></p>
</html>
"""


def _page(words: str, command: str) -> Response[str]:
    text = _PAGE.format(words=escape(words), command=escape(command), version=escape(__version__))
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "X-Frame-Options": "DENY"}
    return Response(text, media_type=MediaType.HTML, headers=headers)


@get("/", public=True, include_in_schema=False)
async def show_start() -> Response[str]:
    """What this is."""
    return _page("git push, and the robots run it. In a terminal, this shows what runs where:", "lekiwi status")


@get("/{name:str}", public=True, include_in_schema=False)
async def redirect_deployment(name: str) -> Redirect:
    """`/dep_…`, as printed by the CLI and the push, goes to the deployment's page."""
    return Redirect(f"/deployments/{_checked(name)}")


@get("/deployments/{name:str}", public=True, include_in_schema=False)
async def show_deployment(name: str) -> Response[str]:
    """How to see this deployment."""
    return _page(
        "In a terminal, this shows the deployment with its robots:", f"lekiwi inspect {_checked(name)} --robots"
    )


def _checked(name: str) -> str:
    if not _DEPLOYMENT.match(name):
        raise NotFound(f"there is nothing at /{name}")
    return name


handlers = [show_start, redirect_deployment, show_deployment]
