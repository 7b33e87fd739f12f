"""A server that answers as a test says, in wire types over real HTTP, and loses connections on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lekiwi_deploy.wire.encoding import encode


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """A whole answer; `value` is a wire struct, bytes go out as they are."""

    value: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """A stream of structs (None: an empty line). `cut`: the connection breaks after them; else it ends cleanly.

    `hold`: stay open without a word until the server is closed.
    """

    values: Sequence[object]
    cut: bool = False
    hold: bool = False


@dataclass(frozen=True)
class Hangup:
    """The connection breaks before an answer."""


Handler = Callable[[Asked], Answer | Lines | Hangup]


class ScriptedServer:
    """`on` says how a route answers: each time the next of its handlers, the last one for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._routes: dict[tuple[str, str], list[Handler]] = {}
        self.closing = threading.Event()
        outer = self

        class _Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                outer._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *answers: Answer | Lines | Hangup | Handler | object) -> None:
        """What `METHOD path` answers: wire structs, `Answer`, `Lines`, `Hangup`, or functions of what was asked."""
        self._routes[method, path] = [_handler(answer) for answer in answers]

    def requests(self, method: str, path: str) -> list[Asked]:
        """Those that came in so far."""
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        asked = Asked(
            request.command,
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): value for name, value in request.headers.items()},
            _body(request),
        )
        self.asked.append(asked)
        handlers = self._routes.get((asked.method, asked.path))
        if not handlers:
            answer: Answer | Lines | Hangup = Answer(b"no such route in this test", 404)
        else:
            handler = handlers.pop(0) if len(handlers) > 1 else handlers[0]
            answer = handler(asked)
        if isinstance(answer, Hangup):
            request.close_connection = True
        elif isinstance(answer, Lines):
            self._stream(request, answer)
        else:
            data = (
                answer.value
                if isinstance(answer.value, bytes)
                else b""
                if answer.value is None
                else encode(answer.value)
            )
            request.send_response(answer.status)
            for name, value in answer.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)

    def _stream(self, request: BaseHTTPRequestHandler, lines: Lines) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/x-ndjson")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for value in lines.values:
            data = (b"" if value is None else encode(value)) + b"\n"
            request.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            request.wfile.flush()
        if lines.hold:
            self.closing.wait(30)
        if lines.cut or lines.hold:
            request.close_connection = True
        else:
            request.wfile.write(b"0\r\n\r\n")


def _handler(answer: Any) -> Handler:
    if isinstance(answer, Answer | Lines | Hangup):
        return lambda asked: answer
    if callable(answer):
        found: Handler = answer
        return found
    return lambda asked: Answer(answer)


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() == "chunked":
        body = b""
        while size := int(request.rfile.readline().strip(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return body
    return request.rfile.read(int(request.headers.get("Content-Length", 0)))
