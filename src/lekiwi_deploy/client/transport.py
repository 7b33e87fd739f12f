"""One request to the server: encode, send, try again where that is safe, decode.

Every POST carries an Idempotency-Key, the same for each try, so that a lost answer never means a second
change. What may be tried again: a connection that failed, and a 429, 502, 503 or 504 that is not the server's
own verdict. The token is sent in a header and appears in no message.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from lekiwi_deploy import __version__
from lekiwi_deploy.client import faults
from lekiwi_deploy.client.address import check_plain_http, checked_address
from lekiwi_deploy.client.proxies import proxy_for
from lekiwi_deploy.errors import LekiwiError, NotFound, TimedOut, Unavailable
from lekiwi_deploy.wire.api import ErrorBody
from lekiwi_deploy.wire.encoding import encode

T = TypeVar("T")
Query = Mapping[str, str | int | float | bool | None]

SILENCE_S = 25.0
"""A stream that is silent for longer is lost: the server sends an empty line every 10 s."""
_CONNECT_S = 5.0
_READ_S = 60.0
_LONGEST_WAIT_S = 10.0


class Answer(msgspec.Struct, frozen=True):
    """What came back. `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Transport:
    """Connections to one server, kept open between requests. Threads may share it; a `fork` may not.

    `token` None: only what needs none. `tries`: how often a request is sent before its failure is told.
    `reason`: why changes are made, kept with each where its route has no field for that.
    Raises `BadInput` for an address that is none and `NotAllowed` for plain HTTP across a network without `insecure_http`.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        insecure_http: bool = False,
        tries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        new_key: Callable[[], str] = lambda: secrets.token_urlsafe(18),
        trace: Callable[[str], None] | None = None,
        reason: str = "",
    ) -> None:
        self.address = checked_address(address)
        check_plain_http(self.address, insecure_http=insecure_http)
        self.monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._new_key = new_key
        self._tries = tries
        self._trace = trace
        self._headers = {"User-Agent": f"lekiwi/{__version__}", "Accept": "application/json"}
        if reason:
            self._headers["Lekiwi-Reason"] = quote(reason)
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)
        proxy = proxy_for(self.address, os.environ)
        self._pool: urllib3.PoolManager = (
            urllib3.ProxyManager(proxy, timeout=timeout, maxsize=4)
            if proxy
            else urllib3.PoolManager(timeout=timeout, maxsize=4)
        )

    def call(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        query: Query | None = None,
        body: object = None,
    ) -> T:
        """The answer of one request as a `kind`. Raises the `LekiwiError` that the server told, or `Unavailable` when
        there is no answer of a LeKiwi server."""
        answer = self.exchange(method, path, query=query, body=None if body is None else encode(body))
        return self._decoded(answer.data, kind, path)

    def exchange(
        self, method: str, path: str, *, query: Query | None = None, body: bytes | None = None, key: str | None = None
    ) -> Answer:
        """As `call`, with bytes. `key`: the Idempotency-Key, when it must outlive this call."""
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = key or self._new_key()
        for attempt in range(1, self._tries + 1):
            try:
                answer = self._once(method, path, query, body, headers)
            except Unavailable:
                if attempt == self._tries:
                    raise
                self._sleep(self.pause_s(attempt))
                continue
            if answer.status < 300:
                return answer
            error = faults.from_answer(self.address, answer.status, answer.data, answer.headers)
            if method == "DELETE" and attempt > 1 and isinstance(error, NotFound):
                return Answer(204, answer.headers, b"")  # an earlier try did it and its answer was lost
            if attempt == self._tries or not _passes(answer.status, error):
                raise error
            self._sleep(max(self.pause_s(attempt), _asked_wait_s(answer.headers)))
        raise AssertionError("the last try returns or raises")

    def send(self, path: str, chunks: Iterable[bytes], *, content_type: str = "application/octet-stream") -> Answer:
        """PUTs a body that is made while it is sent. One try: only the caller can make it again."""
        headers = {**self._headers, "Content-Type": content_type}
        answer = self._once("PUT", path, None, chunks, headers)
        if answer.status >= 300:
            raise faults.from_answer(self.address, answer.status, answer.data, answer.headers)
        return answer

    def lines(self, path: str, *, query: Query | None = None, deadline: float | None = None) -> Iterator[bytes]:
        """The lines of a stream as they come, empty ones included. One try, see `streams`.

        `deadline`, on `monotonic`'s clock: raises `TimedOut` then. Raises `Unavailable` when the connection is lost or silent.
        """
        headers = {**self._headers, "Accept": "application/x-ndjson"}
        response = self._open("GET", path, query, None, headers, read_s=self._silence_s(deadline))
        try:
            if response.status >= 300:
                raise faults.from_answer(self.address, response.status, response.data, _lower(response.headers))
            yield from self._split(response, deadline)
        except (HTTPError, OSError) as error:
            self._check(deadline)
            raise faults.from_exception(self.address, error) from error
        finally:
            response.close()  # never back to the pool: what is left of it is not read

    def pause_s(self, attempt: int) -> float:
        """How long to wait after failed try number `attempt`, from 1: full jitter below 0.3, 0.6, 1.2 … 10 s."""
        return self._jitter() * min(_LONGEST_WAIT_S, 0.3 * 2.0 ** min(attempt - 1, 16))

    def pause(self, seconds: float) -> None:
        """Waits, on the clock that this transport was made with."""
        self._sleep(seconds)

    def decoded_line(self, line: bytes, kind: type[T], path: str) -> T:
        """One line of a stream as a `kind`. A line may be an error that came up after the stream had begun."""
        if line.startswith(b'{"code":') or b'"schema":"lekiwi.error/1"' in line:
            try:
                raise faults.from_body(msgspec.json.decode(line, type=ErrorBody))
            except msgspec.MsgspecError:
                pass
        return self._decoded(line, kind, path)

    def _decoded(self, data: bytes, kind: type[T], path: str) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{self.address}{path} answered something that this program cannot read ({error}): "
                "one of the two may be too old",
                next=("lekiwi version", "lekiwi doctor"),
            ) from error

    def _once(
        self, method: str, path: str, query: Query | None, body: bytes | Iterable[bytes] | None, headers: dict[str, str]
    ) -> Answer:
        response = self._open(method, path, query, body, headers, read_s=_READ_S)
        try:
            data = response.read(decode_content=True)
        except (HTTPError, OSError) as error:
            response.close()
            raise faults.from_exception(self.address, error) from error
        response.release_conn()
        return Answer(response.status, _lower(response.headers), data)

    def _open(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | Iterable[bytes] | None,
        headers: dict[str, str],
        *,
        read_s: float,
    ) -> BaseHTTPResponse:
        url = self.address + path + _encoded(query)
        started = self.monotonic()
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=read_s),
            )
        except (HTTPError, OSError) as error:
            if self._trace:
                self._trace(f"{method} {url}: {type(error).__name__}")
            raise faults.from_exception(self.address, error) from error
        if self._trace:
            self._trace(f"{method} {url}: {response.status} in {(self.monotonic() - started) * 1000:.0f} ms")
        return response

    def _split(self, response: BaseHTTPResponse, deadline: float | None) -> Iterator[bytes]:
        socket = getattr(response.connection, "sock", None)
        chunked = getattr(response, "chunked", False)
        chunks = response.read_chunked() if chunked else iter(lambda: response.read1(65536), b"")
        rest = b""
        while True:
            if socket is not None:
                socket.settimeout(self._silence_s(deadline))
            chunk = next(chunks, None)
            self._check(deadline)
            if chunk is None:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _silence_s(self, deadline: float | None) -> float:
        return SILENCE_S if deadline is None else max(0.05, min(SILENCE_S, deadline - self.monotonic()))

    def _check(self, deadline: float | None) -> None:
        if deadline is not None and self.monotonic() >= deadline:
            raise TimedOut("waiting ended; the work goes on")


def _passes(status: int, error: LekiwiError) -> bool:
    """Whether trying again may help: too many requests, or nobody there; not a verdict such as `timed_out`."""
    return status == 429 or (status in (502, 503, 504) and error.code == "unavailable")


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return min(_LONGEST_WAIT_S, float(text)) if text.isdecimal() else 0.0


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _encoded(query: Query | None) -> str:
    """`?a=1&b=x`; what is None is left out, a bool is 1 or 0."""
    if not query:
        return ""
    given = {name: int(v) if isinstance(v, bool) else v for name, v in query.items() if v is not None}
    return f"?{urlencode(given)}" if given else ""
