"""Asking one service how it is, once. Each probe gives None when it passed, else what was wrong in one line.

Plain sockets on the event loop: while a service is starting it is asked every few milliseconds, and a refused connection
must cost next to nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from lekiwi_deploy.agent.supervisors.spawn import bury, gone, signal_group, spawn

_HEAD = 4096
_TAIL = 2000
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


async def command(
    run: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout_s: float, helpers: set[int]
) -> str | None:
    """Whether `run` exits with 0. `helpers`: the process ids that somebody waits for (see `ProcessSupervisor.helpers`)."""
    what = " ".join(run)[:80]
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            pid, pidfd = spawn(run, folder=folder, environment=environment, output=writer)
        except (OSError, ValueError) as error:
            return f"{what}: {error.strerror if isinstance(error, OSError) else error}"
        finally:
            os.close(writer)
        helpers.add(pid)
        try:
            async with asyncio.timeout(timeout_s):
                await gone(pidfd)
            signal_group(pid, signal.SIGKILL)
            how = bury(pidfd)
        except TimeoutError:
            return f"{what} took longer than {timeout_s:g} s"
        finally:
            signal_group(pid, signal.SIGKILL)
            if pid in helpers:
                await _bury_late(pid, pidfd, helpers)
        if how == "exited with code 0":
            return None
        return f"{what} {how}{_last_line(reader)}"
    finally:
        os.close(reader)


async def _bury_late(pid: int, pidfd: int, helpers: set[int]) -> None:
    try:
        async with asyncio.timeout(1.0):
            await gone(pidfd)
        bury(pidfd)
    except TimeoutError:
        pass
    finally:
        helpers.discard(pid)
        os.close(pidfd)


def _last_line(reader: int) -> str:
    data = b""
    try:
        while chunk := os.read(reader, 65536):
            data = (data + chunk)[-_TAIL:]
    except BlockingIOError:
        pass
    lines = data.decode(errors="replace").strip().splitlines()
    text = "".join(character if character.isprintable() else " " for character in lines[-1]) if lines else ""
    return f": {text[:200]}" if text else ""


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
