"""Telling when files are written to or closed, from the kernel, without polling."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path

WRITTEN = 0x2
"""IN_MODIFY"""
CLOSED = 0x8 | 0x10
"""IN_CLOSE_WRITE, IN_CLOSE_NOWRITE: somebody who had it open has not any more."""
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")


class FileEvents:
    """Calls `written` with the path of a watched file after it was written to (or closed: see `watch`). Raises `OSError` where the
    kernel cannot."""

    def __init__(self, written: Callable[[Path], None]) -> None:
        self._written = written
        self._paths: dict[int, Path] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(_NONBLOCK_CLOEXEC))
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def watch(self, path: Path, what: int = WRITTEN) -> None:
        """Watch a file that exists for `what`, from now on. Twice is once."""
        number = self._checked(self._libc.inotify_add_watch(self._fd, os.fsencode(path), what))
        self._paths[number] = path

    def unwatch(self, path: Path) -> None:
        """Watch it no more."""
        for number in [number for number, known in self._paths.items() if known == path]:
            del self._paths[number]
            self._libc.inotify_rm_watch(self._fd, number)

    def close(self) -> None:
        """Watch nothing more."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        seen: set[int] = set()
        offset = 0
        while offset + _EVENT.size <= len(data):
            number, _, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size + length
            seen.add(number)
        for path in {self._paths[number] for number in seen if number in self._paths}:
            self._written(path)

    def _checked(self, result: int) -> int:
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result
