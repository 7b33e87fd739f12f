"""Downloads over HTTP, with connections that are kept open."""

from __future__ import annotations

import os
from collections.abc import Iterator

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from lekiwi_deploy import __version__
from lekiwi_deploy.client import faults
from lekiwi_deploy.client.proxies import proxy_for
from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.halves import PIECE


class HttpContent:
    """`Content` of the server at `server`, a URL. Nothing is followed to another one."""

    def __init__(self, server: str) -> None:
        self._server = server
        timeout = urllib3.Timeout(connect=5.0, read=60.0)
        proxy = proxy_for(server, os.environ)
        self._pool: urllib3.PoolManager = (
            urllib3.ProxyManager(proxy, timeout=timeout) if proxy else urllib3.PoolManager(timeout=timeout)
        )

    def ask(
        self, path: str, *, ticket: str | None, limit: int, start: int = 0, post: bytes | None = None
    ) -> HttpAnswer:
        headers = {"User-Agent": f"lekiwi-agent/{__version__}"}
        if ticket is not None:
            headers["Authorization"] = f"Ticket {ticket}"
        if start:
            headers["Range"] = f"bytes={start}-"
        if post is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                "GET" if post is None else "POST",
                self._server + path,
                headers=headers,
                body=post,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except HTTPError as error:
            raise faults.from_exception("the server", error) from error
        return HttpAnswer(response, limit)


class HttpAnswer:
    """See `network.Answer`."""

    def __init__(self, response: BaseHTTPResponse, limit: int) -> None:
        self._response = response
        self._limit = limit
        self._whole = False
        self.status = response.status
        length = response.headers.get("Content-Length", "")
        self.length = int(length) if length.isascii() and length.isdecimal() and len(length) < 16 else None

    def pieces(self) -> Iterator[bytes]:
        left = self._limit
        try:
            for chunk in self._response.stream(PIECE):
                left -= len(chunk)
                if left < 0:
                    raise Unavailable(f"the server sends more than the {self._limit} bytes that were asked for")
                yield chunk
        except HTTPError as error:
            raise faults.from_exception("the server", error) from error
        self._whole = True

    def close(self) -> None:
        """A connection whose answer was read to its end is kept for the next one."""
        if self._whole:
            self._response.release_conn()
        else:
            self._response.close()
