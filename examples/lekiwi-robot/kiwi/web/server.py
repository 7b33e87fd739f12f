"""HTTP, as much of it as a page, a picture and a health check take."""

from __future__ import annotations

import contextlib
import socketserver
import time

from kiwi.web.camera import frame
from kiwi.web.page import page

STREAM_HZ = 10
_MAX_LINE = 8192
_MAX_HEADERS = 100


class Handler(socketserver.StreamRequestHandler):
    """One request per connection."""

    server: Server
    timeout = 10
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer, unless the other side has gone."""
        with contextlib.suppress(OSError):  # it closed the connection or fell silent: nobody to tell
            self._answer()

    def _answer(self) -> None:
        words = self.rfile.readline(_MAX_LINE).split()
        for _ in range(_MAX_HEADERS):
            if self.rfile.readline(_MAX_LINE) in (b"\r\n", b"\n", b""):
                break
        else:
            return self._send("431 Request Header Fields Too Large", "text/plain", b"too many headers\n")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return self._send("400 Bad Request", "text/plain", b"not HTTP/1\n")
        if words[0] not in (b"GET", b"HEAD"):
            return self._send("405 Method Not Allowed", "text/plain", b"only GET and HEAD\n")
        head = words[0] == b"HEAD"
        path = words[1].partition(b"?")[0]
        if path == b"/health":
            self._send("200 OK", "application/json", b'{"ok": true}\n', head)
        elif path == b"/":
            html = page(self.server.robot, self.server.version)
            self._send("200 OK", "text/html; charset=utf-8", html.encode(), head)
        elif path == b"/camera.png":
            self._send("200 OK", "image/png", frame(self.server.age()), head)
        elif path == b"/camera":
            self._stream(head)
        else:
            self._send("404 Not Found", "text/plain", b"no such page\n", head)

    def _send(self, status: str, kind: str, body: bytes, head: bool = False) -> None:
        lines = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(lines.encode() + (b"" if head else body))

    def _stream(self, head: bool) -> None:
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        while not head:
            picture = frame(self.server.age())
            lines = f"--frame\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(lines.encode() + picture + b"\r\n")
            time.sleep(1 / STREAM_HZ)


class Server(socketserver.ThreadingTCPServer):
    """Listens on `port` (0: the system chooses, `server_address` says which). Each connection has its thread."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, robot: str, version: str) -> None:
        super().__init__(("", port), Handler)
        self.robot, self.version = robot, version
        self._started_at = time.monotonic()

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started_at
