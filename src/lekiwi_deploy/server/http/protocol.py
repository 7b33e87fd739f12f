"""HTTP connections with bounds that uvicorn does not set: size and number of headers, and time to send them."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lekiwi_deploy.wire.api import ErrorBody
from lekiwi_deploy.wire.encoding import encode

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
"""Of all names and values, and of the URL."""
HEADERS_WITHIN_S = 30.0


class BoundedHttp(HttpToolsProtocol):
    """A connection is closed when a request's headers are too many, too large or too slow."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _unfinished = 0  # bytes received since the last request's headers were complete

    def connection_made(self, transport: Any) -> None:
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_WITHIN_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come. The parser keeps an unfinished header itself, so what it may be keeping is counted here."""
        if self._deadline is not None:
            if self._unfinished > MAX_HEADER_BYTES:
                self.send_400_response("")
                return
            self._unfinished += len(data)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = 0
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADERS_WITHIN_S, self._too_slow)

    def on_url(self, url: bytes) -> None:
        """A part of the URL has come."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """All headers are there."""
        self._stop_clock()
        self._unfinished = 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Says in our own form that this is not HTTP, or not within bounds."""
        self._stop_clock()
        body = encode(
            ErrorBody(
                code="bad_input",
                message=f"this is not an HTTP request that can be served: at most {MAX_HEADERS} headers and "
                f"{MAX_HEADER_BYTES} bytes of them, well-formed",
            )
        )
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("headers too large")

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
