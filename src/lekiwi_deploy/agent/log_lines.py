"""Bytes that a program wrote → lines for a person: bounded, valid text, nothing that could drive a terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

Hide = Callable[[str, bool, bool], str]
"""(text, whether its beginning was cut off, whether its end was) -> what may be shown of it (`variables/masking.py`)."""
MAX_LINE = 16_000
"""Bytes kept of one line."""

# Terminal control: CSI, OSC and other string sequences, two-byte escapes; then whatever control characters are left.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LEVEL = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b|\blevel=\"?([a-zA-Z]+)|\"level\":\s*\"([a-zA-Z]+)\""
)
_LEVELS = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "critical": "error",
    "fatal": "error",
}


def cleaned(raw: bytes) -> str:
    """One line without its end: invalid UTF-8 and control characters replaced, escape sequences removed."""
    if raw.isascii() and raw.decode("ascii").isprintable():
        return raw.decode("ascii")
    text = _ESCAPES.sub("", raw.decode("utf-8", "replace"))
    return _CONTROLS.sub("\ufffd", text.replace("\t", "    "))


def level_of(text: str) -> str | None:
    """debug, info, warning or error, if the beginning of the line says so."""
    match = _LEVEL.search(text[:120])
    if match is None:
        return None
    return _LEVELS.get(next(group for group in match.groups() if group).lower())


def as_it_is(text: str, head: bool = False, tail: bool = False) -> str:
    """A `Hide` that hides nothing."""
    return text


class LineSplitter:
    """Cuts a stream of bytes into lines, and gives of each what `hide` lets through. Holds at most `MAX_LINE` of an unfinished one; what is
    over is counted, not kept."""

    def __init__(self, hide: Hide = as_it_is) -> None:
        self._hide = hide
        self._rest = bytearray()
        self._over = 0
        self._broken = False  # what comes next may be the end of a line whose beginning was given, or skipped

    def feed(self, data: bytes) -> list[str]:
        """Lines that `data` completes."""
        *whole, last = data.split(b"\n")
        lines = [self._take(piece) for piece in whole]
        self._hold(last)
        return lines

    def flush(self, *, skipped: bool = False) -> list[str]:
        """The unfinished line, if there is one: its writer is gone. `skipped`: what comes next does not follow on it."""
        lines = [self._take(b"", unfinished=True)] if self._rest or self._over else []
        self._broken = self._broken or skipped
        return lines

    @property
    def held(self) -> int:
        """Bytes read that belong to no line yet."""
        return len(self._rest) + self._over

    def _hold(self, piece: bytes) -> None:
        room = MAX_LINE - len(self._rest)
        self._rest += piece[:room]
        self._over += max(0, len(piece) - room)

    def _take(self, piece: bytes, *, unfinished: bool = False) -> str:
        self._hold(piece)
        text = cleaned(bytes(self._rest).rstrip(b"\r"))
        text = self._hide(text, self._broken, unfinished or self._over > 0)
        if self._over:
            text += f" … {self._over} bytes more"
        self._rest.clear()
        self._over = 0
        self._broken = unfinished
        return text
