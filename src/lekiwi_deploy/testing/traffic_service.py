"""A service to switch under load: HTTP with keep-alive, and WebSockets that echo. It listens on $PORT and says $LEKIWI_VERSION.

    PORT=24000 LEKIWI_VERSION=v1 python -m lekiwi_deploy.testing.traffic_service

On SIGTERM it does what a web server does: takes no more connections, closes idle ones, says goodbye to WebSockets, and ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import signal
import struct
from typing import cast

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_GOING_AWAY = bytes([0x88, 2]) + struct.pack("!H", 1001)


class Connection(asyncio.Protocol):
    """Answers every request with the version, and echoes once it was upgraded."""

    open: set[Connection] = set()  # noqa: RUF012

    def __init__(self, version: bytes) -> None:
        self._version = version
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
            len(version),
            version,
        )
        self._heard = b""
        self._upgraded = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        assert self.transport is not None
        while not self._upgraded and (end := self._heard.find(b"\r\n\r\n")) >= 0:
            head, self._heard = self._heard[:end], self._heard[end + 4 :]
            key = head.lower().find(b"sec-websocket-key:")
            if key < 0:
                self.transport.write(self._answer)
            else:
                self._upgrade(head[key:].partition(b"\r\n")[0].partition(b":")[2].strip())
        while self._upgraded and (frame := self._frame()) is not None:
            kind, content = frame
            self.transport.write(bytes([0x80 | kind, len(content)]) + content)
            if kind == 8:
                self.transport.close()

    def say_goodbye(self) -> None:
        """Close, after all that was answered."""
        assert self.transport is not None
        if self._upgraded:
            self.transport.write(_GOING_AWAY)
        self.transport.close()

    def _upgrade(self, key: bytes) -> None:
        assert self.transport is not None
        accept = base64.b64encode(hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\nX-Version: %s\r\n\r\n" % (accept, self._version)
        )
        self._upgraded = True

    def _frame(self) -> tuple[int, bytes] | None:
        """The next one, masked and shorter than 126 bytes, as the load sends them."""
        heard = self._heard
        if len(heard) < 6 or len(heard) < 6 + (size := heard[1] & 0x7F):
            return None
        mask, content = heard[2:6], heard[6 : 6 + size]
        self._heard = heard[6 + size :]
        return heard[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


async def serve(port: int, version: bytes) -> None:
    """Until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(version), "0.0.0.0", port, backlog=2048)
    await stop.wait()
    server.close()
    for connection in tuple(Connection.open):
        connection.say_goodbye()
    while Connection.open:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def main() -> None:
    """See the module; on uvloop where that is installed."""
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(int(os.environ["PORT"]), os.environ["LEKIWI_VERSION"].encode()))


if __name__ == "__main__":
    main()
