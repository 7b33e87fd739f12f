"""Reading the system's journal through libsystemd, in this process: where a `journalctl --follow` beside it would cost another 10 MB.

Every machine with systemd has the library; no header, compiler or package is needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from functools import cache

from lekiwi_deploy.errors import Unavailable

_LOCAL_ONLY, _SYSTEM = 1, 4
_THRESHOLD = 20_000
"""Bytes of a field that are of interest."""
_VARLINK = "/run/systemd/journal/io.systemd.journal"
_SYNCHRONIZE = b'{"method":"io.systemd.Journal.Synchronize","parameters":{}}\0'


class JournalError(Unavailable):
    """The journal cannot be read."""


class Journal:
    """Entries that fit any of `matches` (`FIELD=value`), one after the other. Raises `JournalError` throughout."""

    def __init__(self, *matches: str) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._unread = False
        self._check(self._library.sd_journal_open(ctypes.byref(self._handle), _LOCAL_ONLY | _SYSTEM), "opened")
        self._library.sd_journal_set_data_threshold(self._handle, ctypes.c_size_t(_THRESHOLD))
        for number, match in enumerate(matches):
            if number:
                self._check(self._library.sd_journal_add_disjunction(self._handle), "searched")
            data = match.encode()
            self._check(self._library.sd_journal_add_match(self._handle, data, ctypes.c_size_t(len(data))), "searched")
        self.fd: int = self._check(self._library.sd_journal_get_fd(self._handle), "watched")
        """Becomes readable when there may be more; then call `process`."""

    def process(self) -> None:
        """Take note of what made `fd` readable."""
        self._check(self._library.sd_journal_process(self._handle), "watched")

    def go_after(self, cursor: str) -> None:
        """The next entry is the one after `cursor`, or, if that is not there any more, after its moment."""
        self._check(self._library.sd_journal_seek_cursor(self._handle, cursor.encode()), "searched")
        if self.next():
            here = self._check(self._library.sd_journal_test_cursor(self._handle, cursor.encode()), "searched")
            self._unread = not here

    def go_to_time(self, microseconds: int) -> None:
        """The next entry is the first one from then on (wall clock, since 1970)."""
        self._check(
            self._library.sd_journal_seek_realtime_usec(self._handle, ctypes.c_uint64(microseconds)), "searched"
        )

    def newest(self, most: int, since: int, name: str) -> list[bytes]:
        """That field of the last entries, at most so many, none from before `since` (microseconds of the wall clock), oldest first."""
        found: list[bytes] = []
        self._check(self._library.sd_journal_seek_tail(self._handle), "searched")
        while len(found) < most and self._check(self._library.sd_journal_previous(self._handle), "read") > 0:
            if self.microseconds() < since:
                break
            found.append(self.field(name) or b"")
        return found[::-1]

    def next(self) -> bool:
        """Go to the next entry; whether there is one."""
        if self._unread:
            self._unread = False
            return True
        return self._check(self._library.sd_journal_next(self._handle), "read") > 0

    def field(self, name: str) -> bytes | None:
        """Of the entry that we are at; None: it has none of that name."""
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        code = self._library.sd_journal_get_data(self._handle, name.encode(), ctypes.byref(data), ctypes.byref(size))
        if code < 0 or data.value is None:
            return None
        return ctypes.string_at(data.value, size.value)[len(name) + 1 :]

    def microseconds(self) -> int:
        """When the entry that we are at was written (wall clock, since 1970)."""
        value = ctypes.c_uint64()
        self._check(self._library.sd_journal_get_realtime_usec(self._handle, ctypes.byref(value)), "read")
        return value.value

    def cursor(self) -> str:
        """Names the entry that we are at, for ever."""
        text = ctypes.c_void_p()
        self._check(self._library.sd_journal_get_cursor(self._handle, ctypes.byref(text)), "read")
        assert text.value is not None
        try:
            return ctypes.string_at(text.value).decode()
        finally:
            self._library.free_(text)

    def close(self) -> None:
        """No more is read."""
        if self._handle:
            self._library.sd_journal_close(self._handle)
            self._handle = ctypes.c_void_p()

    def _check(self, code: int, what: str) -> int:
        if code < 0:
            raise JournalError(f"the journal cannot be {what}: {os.strerror(-code)}")
        return code


def synchronize(within_s: float) -> None:
    """Have journald write what was said to it until now. Waits as long at most; it is written by then even if not flushed to disk."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as journald,
    ):
        journald.settimeout(within_s)
        journald.connect(_VARLINK)
        journald.sendall(_SYNCHRONIZE)
        journald.recv(4096)


class _Library(ctypes.CDLL):
    """libsystemd, and the C library's `free`."""

    def free_(self, pointer: ctypes.c_void_p) -> None:
        """Give back what it allocated."""
        ctypes.CDLL(None).free(pointer)


@cache
def _library() -> _Library:
    try:
        return _Library("libsystemd.so.0", use_errno=False)
    except OSError as error:
        raise JournalError(f"the journal cannot be read: {error}") from error
