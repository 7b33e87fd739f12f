"""The sd_notify socket of one instance: a datagram socket with an abstract name, which a new agent takes over under the same name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.wire.ids import InstanceId

_LONGEST = 8192
_CREDENTIALS = struct.Struct("3i")
_AT_ONCE = 64


def address(root: Path, instance: InstanceId) -> str:
    """What NOTIFY_SOCKET says; the same for every agent of this root folder."""
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return f"@lekiwi/{place}/{instance}"


class NotifySocket:
    """Listens from the moment it is made. `heard` gets each datagram and the process that sent it, by the kernel's word. Raises `OSError`
    where the name is in use."""

    def __init__(self, name: str, heard: Callable[[bytes, int, int], None]) -> None:
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind("\0" + name.removeprefix("@"))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self.read)

    def read(self) -> None:
        """Take what has come in by now."""
        for _ in range(_AT_ONCE):
            try:
                data, more, _, _ = self._socket.recvmsg(_LONGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return
            pid, uid = -1, -1
            for level, kind, content in more:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid, uid, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    _close(content)
            self._heard(data, pid, uid)

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(ValueError, RuntimeError):
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()


def _close(content: bytes) -> None:
    """File descriptors that came along are none of ours."""
    for (fd,) in struct.iter_unpack("i", content[: len(content) // 4 * 4]):
        with contextlib.suppress(OSError):
            os.close(fd)
