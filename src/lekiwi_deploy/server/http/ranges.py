"""`Range` headers, as far as resuming a download needs them. Pure."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and length in bytes of the one range that `header` asks for of `size` bytes.

    Length 0: the range lies outside. None: it is no single range of bytes, and the whole is to be sent.
    """
    match = _RANGE.match(header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    return start, max(0, end - start + 1)
