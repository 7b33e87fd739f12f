"""A command's output as lines, bounded: the beginning and the end are kept, the middle is counted.

200 MB of output cost a few megabytes of memory and a bounded number of stored lines.
"""

from __future__ import annotations

import re
from collections import deque

HEAD_LINES = 2_000
TAIL_LINES = 200
LINE_BYTES = 4_096

_ESCAPES = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(raw: bytes) -> str:
    """One line as text: UTF-8 with replacements, without escape sequences and control characters; the last of what carriage
    returns would have overwritten."""
    raw = raw.rstrip(b"\r")
    if b"\r" in raw:
        raw = raw.rsplit(b"\r", 1)[1]
    return _CONTROL.sub("", _ESCAPES.sub(b"", raw).decode("utf-8", "replace"))


class Lines:
    """Splits a stream of bytes; `feed` gives the lines that are to be shown and stored at once."""

    def __init__(self, head: int = HEAD_LINES, tail: int = TAIL_LINES) -> None:
        self._head = head
        self._rest = b""
        self._cut = False  # the line that `_rest` begins was too long; what comes until its end is dropped
        self._tail: deque[bytes] = deque(maxlen=tail)
        self.lines = 0
        self.bytes = 0

    def feed(self, data: bytes) -> list[str]:
        """More output. Past the first `HEAD_LINES` lines nothing is given any more; see `end`."""
        self.bytes += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and self._cut:
            whole, self._cut = whole[1:], False
        if len(self._rest) > LINE_BYTES:
            if not self._cut:
                whole.append(self._rest)
            self._rest, self._cut = b"", True
        return self._take(whole)

    def end(self) -> list[str]:
        """The last lines, after the stream ended: those of the tail that were not given before, after a count of what is left out."""
        out: list[str] = []
        if self._rest and not self._cut:
            out = self._take([self._rest])
        self._rest = b""
        left_out = self.lines - self._head - len(self._tail)
        if left_out > 0:
            out.append(f"… {left_out:,} lines left out ({self.bytes / 1e6:.1f} MB of output in all)")
        out += [clean(line) for line in self._tail]
        self._tail.clear()
        return out

    def _take(self, whole: list[bytes]) -> list[str]:
        room = max(0, self._head - self.lines)
        self.lines += len(whole)
        for line in whole[room:]:
            self._tail.append(_cut(line))
        return [clean(_cut(line)) for line in whole[:room]]


def _cut(line: bytes) -> bytes:
    return line if len(line) <= LINE_BYTES else line[:LINE_BYTES] + "…".encode()
