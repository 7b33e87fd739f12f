"""Being told by the kernel that somebody changed its rules (nfnetlink, group NFNLGRP_NFTABLES)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable

_NETFILTER, _GROUP = 12, 7
_HEADER = struct.Struct("=IHHII")
_NEW_GENERATION = 10 << 8 | 15
_SETTLE_S = 0.1
"""Programs that change rules change many."""


class NftEvents:
    """`changed` is called soon after somebody else changed any rule of this machine. Needs CAP_NET_ADMIN; `open` raises `OSError`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._ours: deque[int] = deque(maxlen=8)
        self._kernel: socket.socket | None = None
        self._soon: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to listen."""
        self._kernel = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETFILTER
        )
        self._kernel.bind((0, 1 << (_GROUP - 1)))
        asyncio.get_running_loop().add_reader(self._kernel.fileno(), self._read)

    def ours(self, port: int) -> None:
        """What came over this line to the kernel (an `nft` of ours has its process id) was ours, and is no news. To be said before
        the loop reads of it."""
        if port not in self._ours:
            self._ours.append(port)

    def close(self) -> None:
        """Listen no more."""
        if self._soon is not None:
            self._soon.cancel()
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel.fileno())
            self._kernel.close()
            self._kernel = None

    def _read(self) -> None:
        assert self._kernel is not None
        try:
            by = changed_by(self._kernel.recv(1 << 18))
        except BlockingIOError:
            return
        except OSError:  # so many changes at once that some were dropped
            by = {0}
        if by.difference(self._ours) and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._soon = None
        self._changed()


def changed_by(messages: bytes) -> set[int]:
    """Who brought changes into force (as netlink names them: process ids, as a rule), of a batch of netlink messages."""
    found, at = set(), 0
    while at + _HEADER.size <= len(messages):
        length, kind, _, _, port = _HEADER.unpack_from(messages, at)
        if kind == _NEW_GENERATION:
            found.add(port)
        at += max((length + 3) & ~3, _HEADER.size)
    return found
