"""Telling systemd that this process is ready and alive (sd_notify(3)), where systemd asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable


def tell(state: str) -> None:
    """Send `state` (`READY=1`, `WATCHDOG=1`, `STATUS=…`) to whoever started this process and listens; nobody: nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out, contextlib.suppress(OSError):
        out.setblocking(False)
        out.sendto(state.encode(), address)


def watchdog_s() -> float | None:
    """After so many seconds without a word systemd restarts this process; None: it does not."""
    text = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1e6


async def beat(alive: Callable[[], bool]) -> None:
    """Runs until cancelled: a sign of life in good time, as long as this loop turns and `alive` says so. Ends where nobody watches."""
    every = watchdog_s()
    if every is None:
        return
    while True:
        if alive():
            tell("WATCHDOG=1")
        await asyncio.sleep(every / 3)
