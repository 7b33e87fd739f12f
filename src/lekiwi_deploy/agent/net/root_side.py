"""The network as the root half has it: whatever net half is connected to its socket. There may be none; then the robot runs on without."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from lekiwi_deploy.agent.net.network import Connection, NetHalfGone
from lekiwi_deploy.agent.net.peer import Misbehaved, Peer
from lekiwi_deploy.agent.net.relayed_content import Download, RelayedContent
from lekiwi_deploy.agent.paths import Paths

_LONGEST_PENALTY_S = 60.0
_FORGIVEN_S = 60.0
"""After so long without a fault the next one counts as the first."""
_PEER = struct.Struct("3i")  # struct ucred: process, user, group


class NetHalf:
    """`network.Network` for a process without one. Only a process of user `uid` may be the net half. `said(link, trouble)`: what to show
    as the state of the link, and whether it is a fault that a person should know of."""

    def __init__(self, paths: Paths, uid: int, *, said: Callable[[str, bool], None]) -> None:
        self._paths = paths
        self._uid = uid
        self._said = said
        self._peer: Peer | None = None
        self._there = asyncio.Event()
        self._server: asyncio.AbstractServer | None = None
        self._faults = 0
        self._barred_until = 0.0
        self._waits = False
        self._loop = asyncio.get_running_loop()
        self.content = RelayedContent(self._fetch, self._loop)

    async def open(self) -> None:
        """Listen."""
        path = self._paths.net_socket
        path.unlink(missing_ok=True)
        # A path of a socket is short (108 bytes); through the folder's descriptor any root folder will do.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, f"/proc/self/fd/{folder}/{path.name}")
            if self._uid != os.geteuid():
                os.chown(path.name, self._uid, -1, dir_fd=folder, follow_symlinks=False)
        finally:
            os.umask(before)
            os.close(folder)
        self._said("the network half is not running", False)

    async def close(self) -> None:
        """Listen no more; whoever waits for the network is told that there is none."""
        if self._server is not None:
            self._server.close()
        if self._peer is not None:
            self._peer.drop("the agent stops")
        self._paths.net_socket.unlink(missing_ok=True)

    async def ready(self) -> None:
        """See `network.Network`."""
        await self._there.wait()

    @asynccontextmanager
    async def link(self, *, ping_s: float) -> AsyncIterator[Connection]:
        """See `network.Network`."""
        peer = self._peer
        if peer is None:
            raise NetHalfGone("the network half is not running")
        link = peer.open_link(ping_s)
        try:
            await link.opened()
            yield link
        finally:
            peer.shut_link(link)

    def _fetch(self, **what: Any) -> Download:
        if self._peer is None:
            raise NetHalfGone("the network half is not running")
        return self._peer.fetch(**what)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._waits or not self._is_net_half(writer):
                return
            if (barred := self._barred_until - self._loop.time()) > 0:
                self._waits = True  # one at a time: the next ones are turned away
                try:
                    await asyncio.sleep(barred)
                finally:
                    self._waits = False
            await self._live(Peer(reader, writer))
        finally:
            writer.close()

    async def _live(self, peer: Peer) -> None:
        began = self._loop.time()
        try:
            await peer.greeted()
        except Misbehaved as error:
            self._fault(f"the network half was cut off: {error}", began)
            return
        if self._peer is not None:
            self._peer.drop("another network half took its place")
        self._peer = peer
        self._there.set()
        self._said("not connected yet", False)
        await peer.serve()
        if self._peer is not peer:
            return
        self._peer = None
        self._there.clear()
        if peer.misbehaved:
            self._fault(peer.why, began)
        else:
            self._said(peer.why, False)

    def _fault(self, why: str, began: float) -> None:
        now = self._loop.time()
        self._faults = 1 if now - began > _FORGIVEN_S else self._faults + 1
        self._barred_until = now + min(_LONGEST_PENALTY_S, 0.5 * 2.0**self._faults)
        self._said(why, True)

    def _is_net_half(self, writer: asyncio.StreamWriter) -> bool:
        connection: socket.socket = writer.get_extra_info("socket")
        pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid == self._uid:
            return True
        self._said(f"process {pid} of user {uid} wanted to be the network half, which is user {self._uid}", True)
        return False
