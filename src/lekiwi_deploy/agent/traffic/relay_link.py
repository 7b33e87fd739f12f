"""The agent's end of the line to the relay process: finding it, starting it, asking it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from lekiwi_deploy.agent.traffic.relay_command import relay_command, relay_environment
from lekiwi_deploy.agent.traffic.relay_words import LANGUAGE
from lekiwi_deploy.errors import Failed, Unavailable

_ANSWER_S = 10.0
_END_S = 5.0


class RelayLink(asyncio.Protocol):
    """A connection to the process at `path`. `gone` is called when it ends without `close`."""

    def __init__(self, path: Path, gone: Callable[[RelayLink], None]) -> None:
        self.path = path
        self.pid = 0
        self.may_end = False
        """It has no port left, so it may go."""
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self._waiting: deque[asyncio.Future[str]] = deque()
        self._ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            if self._waiting:
                answer = self._waiting.popleft()
                if not answer.done():
                    answer.set_result(line.decode(errors="replace"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._ended.set()
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(Unavailable("the relay process has ended"))
        self._waiting.clear()
        self._gone(self)

    async def ask(self, line: bytes) -> str:
        """Its answer to one line. Raises `Unavailable` when it has ended, `Failed` when it does not answer."""
        if self._transport is None:
            raise Unavailable("the relay process has ended")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._transport.write(line)
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            raise Failed(
                f"the relay process {self.pid or ''} at {self.path} did not answer within {_ANSWER_S:g} s"
            ) from None

    async def greet(self) -> bool:
        """Whether it speaks our language. Sets `pid`."""
        match (await self.ask(b"hello\n")).split():
            case ["ok", language, pid] if language == str(LANGUAGE):
                self.pid = int(pid)
                return True
        return False

    async def end(self) -> None:
        """Make it end; returns when it has. Its connections end with it."""
        self.may_end = True
        gone = bury(self.pid) if self.pid else self._ended
        with suppress(Unavailable):
            await self.ask(b"end\n")
        try:
            async with asyncio.timeout(_END_S):
                await gone.wait()
        except TimeoutError:
            raise Failed(f"the relay process {self.pid or ''} was told to end and did not") from None

    def close(self) -> None:
        """Leave it alone."""
        self._gone = lambda link: None
        if self._transport is not None:
            self._transport.close()


async def find(path: Path, gone: Callable[[RelayLink], None]) -> RelayLink | None:
    """The process that listens at `path`. None: there is none. Raises `Failed`."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.setblocking(False)
    try:
        with _short(path) as name:
            connection.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise Failed(f"the relay process at {path} cannot be asked: {error.strerror}") from error
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: RelayLink(path, gone), sock=connection)
    return link


def start(path: Path, log: Path) -> None:
    """Start the process; it can be found at `path` from now on. What goes wrong in it is written to `log`. Raises `Failed`."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)  # of one that is no more
        before = os.umask(0o177)
        try:
            with _short(path) as name:
                listening.bind(name)
        finally:
            os.umask(before)
        listening.listen()
        with log.open("wb") as output:
            child = subprocess.Popen(
                relay_command(listening.fileno(), path),
                cwd="/",
                env=relay_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(listening.fileno(),),
            )
    except OSError as error:
        raise Failed(f"the relay process cannot be started: {error.filename or path}: {error.strerror}") from error
    finally:
        listening.close()
    child.returncode = 0  # nobody waits for it here: it outlives the agent, and the line to it tells of its end


def bury(pid: int) -> asyncio.Event:
    """Reap the process when it has ended, if it is a child of ours. Set when it is gone."""
    gone = asyncio.Event()
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        gone.set()
        return gone
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        with suppress(ChildProcessError):  # another agent's, or reaped already
            os.waitpid(pid, os.WNOHANG)
        gone.set()

    loop.add_reader(pidfd, ended)
    return gone


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name of the socket that fits: its path may have 108 bytes at most, but through the folder's descriptor any folder will do."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
