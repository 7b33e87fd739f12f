"""Where what is being done comes from, address and program, and why somebody does it: kept for the audit row of whatever changes.

The way in (an HTTP request, a push, a link) sets it for everything that it causes; what the server does by itself has none and is `server`.
The reason comes with routes that have no field for it in the header `Lekiwi-Reason` (UTF-8, percent-encoded).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

from lekiwi_deploy.errors import BadInput

SERVER = "server"
MAX_PROGRAM = 60
MAX_REASON = 1000

_current: ContextVar[str] = ContextVar("lekiwi_origin", default=SERVER)
_reason: ContextVar[str] = ContextVar("lekiwi_reason", default="")
_PRODUCT = re.compile(r"([A-Za-z][\w.+-]{0,40})/([\w.+-]{1,40})")


def origin() -> str:
    """Where what runs now comes from: `127.0.0.1 · lekiwi 0.2.0`, `10.0.0.7 · git 2.39.5`, `server`."""
    return _current.get()


def reason() -> str:
    """Why what runs now is done, in the words of whoever asked for it; empty when they did not say."""
    return _reason.get()


@contextmanager
def coming_from(text: str, why: str = "") -> Iterator[None]:
    """Everything that runs inside comes from `text`, and is done because of `why`."""
    token, because = _current.set(text), _reason.set(why)
    try:
        yield
    finally:
        _current.reset(token)
        _reason.reset(because)


def reason_of_request(scope: Mapping[str, Any]) -> str:
    """What the request's header says. Raises `BadInput` when that cannot be kept."""
    told = next((value for name, value in scope["headers"] if name == b"lekiwi-reason"), b"")
    text = unquote(told.decode("latin-1"))
    if len(text) > MAX_REASON or "\0" in text:
        raise BadInput(f"the reason may have at most {MAX_REASON} characters and no NUL")
    return text


def of_request(scope: Mapping[str, Any]) -> str:
    """Address and program of an HTTP request (an ASGI scope); what its sender says of itself, so nothing to rely on."""
    client = scope.get("client")
    address = str(client[0]) if client else "?"
    told = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    program = program_of(told.decode("latin-1"))
    return f"{address} · {program}" if program else address


def program_of(user_agent: str) -> str:
    """`lekiwi/0.2.0` as `lekiwi 0.2.0`; of a browser's long line only the name that people know it by."""
    products = _PRODUCT.findall(user_agent)
    if not products:
        return "".join(one for one in user_agent if one.isprintable())[:MAX_PROGRAM].strip()
    names = dict(reversed(products))
    for browser in ("Firefox", "Edg", "Chrome", "Safari"):
        if "Mozilla" in names and browser in names:
            return {"Edg": "Edge"}.get(browser, browser)
    name, version = products[0]
    return f"{name} {version}"[:MAX_PROGRAM]
