"""The socket at /run/lekiwi/hold.sock, where every user of the machine may say "not now" (docs/robot-contract.md).

One JSON line each way, any number of them over one connection. Who asks is known from the kernel, not from what is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.agent.busy_lock import service_of
from lekiwi_deploy.agent.hold_book import HoldBook, moment
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot import holds
from lekiwi_deploy.robot.holds import Asker
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.holds import (
    Hold,
    HoldAnswer,
    HoldAsk,
    HoldPlease,
    HoldRefused,
    Holds,
    HoldsPlease,
    Lease,
    Released,
    ReleasePlease,
    RenewPlease,
)

_LONGEST_LINE = 16 << 10
_MOST_CONNECTIONS = 100
_PEER = struct.Struct("3i")


class HoldDesk:
    """Takes requests at `path` and keeps `book`. `all_holds` lists every hold there is, locks too; `changed` is called with a line for
    the history when leases came or went, `renewed` when one lasts longer; `switching`: whether a switch is under way."""

    def __init__(
        self,
        path: Path,
        book: HoldBook,
        *,
        longest_s: float,
        all_holds: Callable[[], tuple[Hold, ...]],
        changed: Callable[[str, str], None],
        renewed: Callable[[], None],
        switching: Callable[[], bool],
    ) -> None:
        self._path = path
        self._book = book
        self._longest_s = longest_s
        self._all_holds = all_holds
        self._changed = changed
        self._renewed = renewed
        self._switching = switching
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        # A path of a socket is short (108 bytes); through the folder's descriptor any root folder will do.
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            where = f"/proc/self/fd/{folder}/{self._path.name}"
            self._server = await asyncio.start_unix_server(self._serve, where, limit=_LONGEST_LINE)
            self._path.chmod(0o666)
        finally:
            os.close(folder)

    async def close(self) -> None:
        """Listen no more; leases that are tied to a connection end."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        for connection in tuple(self._connections):
            connection.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tied: list[str] = []
        try:
            if len(self._connections) >= _MOST_CONNECTIONS:
                writer.write(_line(HoldRefused(code="unavailable", message="too many programs are connected here")))
                return
            self._connections.add(writer)
            asker = _asker(writer.get_extra_info("socket"))
            while line := await reader.readline():
                writer.write(_line(self._answer(line, asker, tied)))
                await writer.drain()
        except (OSError, ValueError):
            pass  # whoever asked is gone, or sent a line without end
        finally:
            self._connections.discard(writer)
            self._end(tied)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, line: bytes, asker: Asker, tied: list[str]) -> HoldAnswer:
        try:
            ask: HoldAsk = decode(line, HoldAsk, what="the request")
            match ask:
                case HoldPlease():
                    return self._take(ask, asker, tied)
                case RenewPlease(id=id, for_s=for_s):
                    now = moment()
                    book, lease = holds.renew(
                        self._book.book, asker, now, id=id, for_s=for_s, longest_s=self._longest_s
                    )
                    self._book.keep(book)
                    self._renewed()
                    return Lease(hold=lease.hold(now), left_s=for_s, switching=self._switching())
                case ReleasePlease(id=id):
                    book, ids = holds.release(self._book.book, asker, moment(), id=id)
                    self._book.keep(book)
                    if ids:
                        self._changed("released", f"{asker.name} released {', '.join(ids)}")
                    return Released(ids=ids)
                case HoldsPlease():
                    return Holds(holds=self._all_holds(), switching=self._switching())
        except LekiwiError as error:
            return HoldRefused(code=error.code, message=error.message, next=error.next)
        except OSError as error:
            return HoldRefused(code="failed", message=f"the robot's disk cannot be written: {error.strerror}")

    def _take(self, ask: HoldPlease, asker: Asker, tied: list[str]) -> Lease:
        now = moment()
        book, lease = holds.take(
            self._book.book,
            asker,
            now,
            reason=ask.reason,
            for_s=ask.for_s,
            owner=ask.owner,
            tied=ask.tied,
            longest_s=self._longest_s,
        )
        self._book.keep(book)
        if ask.tied:
            tied.append(lease.id)
        how_long = "while its connection stands" if ask.for_s is None else f"for {ask.for_s:g} s"
        self._changed("held", f"{lease.owner} holds switches off {how_long}: {lease.reason} ({lease.id})")
        return Lease(hold=lease.hold(now), left_s=ask.for_s, switching=self._switching())

    def _end(self, tied: list[str]) -> None:
        """The connection that these leases were tied to is gone."""
        book = self._book.book
        ended = [lease.id for lease in book.leases if lease.id in tied]
        if not ended:
            return
        left = holds.without(book, ended)
        try:
            self._book.keep(left)
        except OSError:
            self._book.book = left  # on disk they are tied still, so the next agent drops them
        self._changed("released", f"{', '.join(ended)} ended with the connection that it was tied to")


def _asker(connection: socket.socket) -> Asker:
    pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    name = service_of(pid)
    if name is None:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = f"user {uid}"
    return Asker(uid=uid, name=name[: holds.MAX_OWNER], administrator=uid in (0, os.geteuid()))


def _line(answer: HoldAnswer) -> bytes:
    return encode(answer) + b"\n"
