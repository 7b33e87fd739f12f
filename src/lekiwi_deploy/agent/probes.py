"""Asking one service how it is, once. Each probe gives None when it passed, else what was wrong in one line.

Plain sockets on the event loop: while a service is starting it is asked every few milliseconds, and a refused connection
must cost next to nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket

_HEAD = 4096
_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""Both are tried: what listens on `localhost` only may have either."""


async def tcp(port: int, timeout_s: float) -> str | None:
    """Whether a connection to `port` on loopback is accepted."""
    try:
        async with asyncio.timeout(timeout_s):
            (await _connect(port)).close()
    except TimeoutError:
        return f"tcp :{port} did not answer within {timeout_s:g} s"
    except OSError as error:
        return f"tcp :{port}: {_words(error)}"
    return None


async def http(port: int, path: str, timeout_s: float) -> str | None:
    """Whether GET `path` on loopback answers 2xx or 3xx."""
    what = f"http :{port}{path}"
    try:
        async with asyncio.timeout(timeout_s):
            connection = await _connect(port)
            with connection:
                return _judge(what, await _ask(connection, port, path))
    except TimeoutError:
        return f"{what} did not answer within {timeout_s:g} s"
    except OSError as error:
        return f"{what}: {_words(error)}"


async def _connect(port: int) -> socket.socket:
    """A connection to whatever listens on loopback. The kernel answers at once, so a refusal costs no turn of the event loop."""
    failure: OSError | None = None
    for family, host in _LOOPBACKS:
        try:
            connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:  # no IPv6 here
            failure = failure or error
            continue
        try:
            code = connection.connect_ex((host, port))
            if code == errno.EINPROGRESS:
                await asyncio.get_running_loop().sock_connect(connection, (host, port))
            elif code:
                raise OSError(code, os.strerror(code))
        except OSError as error:
            connection.close()
            failure = failure or error
            continue
        except BaseException:
            connection.close()
            raise
        return connection
    assert failure is not None
    raise failure


async def _ask(connection: socket.socket, port: int, path: str) -> bytes:
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: lekiwi-agent\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, request.encode("ascii", "replace"))
    head = b""
    while b"\n" not in head and len(head) < _HEAD:
        chunk = await loop.sock_recv(connection, _HEAD)
        if not chunk:
            break
        head += chunk
    return head.partition(b"\n")[0]


def _judge(what: str, line: bytes) -> str | None:
    parts = line.split()
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return f"{what} did not answer in HTTP"
    status = int(parts[1])
    return None if 200 <= status < 400 else f"{what} answered {status}"


def _words(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there"
    return (error.strerror or str(error)).lower()
