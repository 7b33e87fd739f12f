"""Ports for services on this machine, which several fleets may share: each claims a block of its own while it lives."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST = 8000
PER_BLOCK = 500
BLOCKS = 40


class PortBlock:
    """`PER_BLOCK` ports that no other fleet on this machine takes. Raises `RuntimeError` when all blocks are taken."""

    def __init__(self) -> None:
        for block in range(BLOCKS):
            self._next = FIRST + block * PER_BLOCK
            self._end = self._next + PER_BLOCK
            claim = Path(tempfile.gettempdir()) / f"lekiwi-ports-{self._next}"
            try:
                self._lock = os.open(claim, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except PermissionError:
                continue  # another user's
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                os.close(self._lock)
        raise RuntimeError(f"{BLOCKS} fleets run on this machine already")

    def take(self) -> int:
        """A port that was not given before and is free now. Raises `RuntimeError` when the block is used up."""
        while self._next < self._end:
            port, self._next = self._next, self._next + 1
            if _is_free(port):
                return port
        raise RuntimeError(f"all {PER_BLOCK} ports are taken")

    def release(self) -> None:
        """Others may claim the block."""
        os.close(self._lock)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
