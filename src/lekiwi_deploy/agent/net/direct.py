"""The network in this very process: a WebSocket for the link, HTTP for content. Also what the net half does its work with."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from lekiwi_deploy import __version__
from lekiwi_deploy.agent.config import AgentConfig, read_key
from lekiwi_deploy.agent.net.http_content import HttpContent
from lekiwi_deploy.agent.net.network import Connection, LinkLost
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.client.proxies import proxy_for
from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.link import MAX_FRAME

_FAILURES = (OSError, InvalidHandshake, InvalidURI, ConnectionClosed)


class DirectNetwork:
    """To the server of `config`, with the key of `paths`."""

    def __init__(self, paths: Paths, config: AgentConfig) -> None:
        self._paths = paths
        self._config = config
        self.content = HttpContent(config.server)

    async def ready(self) -> None:
        return

    @asynccontextmanager
    async def link(self, *, ping_s: float) -> AsyncIterator[Connection]:
        server = self._config.server
        opening = connect(
            "ws" + server.removeprefix("http") + "/link",
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=10,
            ping_interval=ping_s,
            ping_timeout=ping_s,
            close_timeout=1,
            proxy=proxy_for(server, os.environ),
            user_agent_header=f"lekiwi-agent/{__version__}",
            max_queue=64,
        )
        try:
            socket = await opening
        except _FAILURES as error:
            raise LinkLost(_words(error)) from error
        try:
            yield _Socket(socket, self._paths, self._config)
        finally:
            await socket.close()


class _Socket:
    def __init__(self, socket: ClientConnection, paths: Paths, config: AgentConfig) -> None:
        self._socket = socket
        self._paths = paths
        self._config = config

    async def recv(self) -> str:
        try:
            frame = await self._socket.recv()
        except _FAILURES as error:
            raise LinkLost(_words(error)) from error
        if not isinstance(frame, str):
            raise LinkLost("it sent something that is not text")
        return frame

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except _FAILURES as error:
            raise LinkLost(_words(error)) from error

    async def token(self, server: str, nonce: str, boot: str) -> str:
        if server != self._config.server_id:
            raise Conflict(f"{server} is not the server that this robot joined")
        claims = Claims(iss=self._config.robot, aud=server, nonce=nonce, boot=boot)
        return sign(claims, read_key(self._paths))


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
