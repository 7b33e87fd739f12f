"""The hardware of this robot, for one process at a time (LeKiwi Deploy, docs/robot-contract.md). Copy it; it needs nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time


def tell(*lines: str) -> None:
    """Say something to whoever runs this program, as sd_notify does; if nobody listens now: nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as desk:
            desk.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)


class Hardware:
    """`with Hardware("motors"):` begins when no other process uses them any more. Import everything before; leave them safe inside."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        path = os.environ.get("LEKIWI_LOCK", os.devnull)
        self._file = open(path)  # noqa: PTH123
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is in use yet: end at once
        tell(f"STATUS=waiting for {self.name}")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        signal.signal(signal.SIGTERM, before)
        tell(f"STATUS=owns {self.name} @{time.monotonic():.6f}", "READY=1")

    def __exit__(self, *error: object) -> None:
        now = time.monotonic()
        self._file.close()
        tell(f"STATUS=released {self.name} @{now:.6f}")
