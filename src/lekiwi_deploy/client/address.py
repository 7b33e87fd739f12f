"""Which server a text names, and whether it may be spoken to."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from lekiwi_deploy.errors import BadInput, NotAllowed


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, without port) can only be this machine."""
    host = host.strip("[]").lower()
    if host in {"localhost", "::1"} or host.endswith(".localhost"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() and int(part) < 256 for part in parts)


def checked_address(text: str) -> str:
    """The server's URL in its one spelling: scheme, host, port if it is not the usual one, path without a last slash.

    Without a scheme it is HTTPS, on loopback HTTP. Raises `BadInput` when it is no such URL or carries a token.
    """
    text = text.strip()
    if "://" not in text:
        authority = text.split("/")[0]
        bare = authority if authority.count(":") > 1 and "]" not in authority else authority.rsplit(":", 1)[0]
        text = f"{'http' if is_loopback(bare) else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"{_shown(text)!r} is not a server's URL: {error}") from error
    if "@" in parts.netloc:
        raise BadInput(
            "a server's URL must not carry a user or a token: it would end up in logs and in `git remote -v`",
            next=("lekiwi login URL --token-stdin < token-file",),
        )
    if parts.scheme not in {"http", "https"} or not host or any(c.isspace() or ord(c) < 33 for c in text):
        raise BadInput(f"{_shown(text)!r} is not a server's URL, such as https://deploy.example.org")
    if parts.query or parts.fragment:
        raise BadInput(f"{_shown(text)!r} is not a server's URL: leave out what follows '?' or '#'")
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}{'' if port in (None, usual) else f':{port}'}{parts.path.rstrip('/')}"


def check_plain_http(address: str, *, insecure_http: bool) -> None:
    """Raises `NotAllowed` if a token would cross a network unencrypted: plain HTTP to anything but this machine."""
    parts = urlsplit(address)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not insecure_http:
        raise NotAllowed(
            f"{address} is plain HTTP: anyone on the way could read your token and take over your robots",
            next=(
                f"use https://{parts.netloc} if the server has TLS",
                "add --insecure-http if you trust this network",
            ),
        )


def path(*parts: str) -> str:
    """A request path out of its parts, each escaped, so that no part can become two."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _shown(text: str) -> str:
    """`text` short enough for a message, and without what may be a password or token."""
    text = re.sub(r"lkd_\w+", "…", text[:200])
    head, at, tail = text.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else tail
