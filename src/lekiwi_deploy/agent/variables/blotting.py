"""Taking secrets out of the files that services write their output to: they write there themselves, so it is done after the fact, in place."""

from __future__ import annotations

import os

from lekiwi_deploy.agent.variables.masking import Mask

_BLOT = b"*"
_CHUNK = 256 << 10


def blot(mask: Mask, fd: int, start: int, end: int) -> None:
    """Every value that ends between `start` and `end` of the open file becomes stars, as many as it had bytes; the file's length stays.
    Raises `OSError`."""
    if not mask.reach:
        return
    while start < end:
        before = max(0, start - mask.reach)
        data = os.pread(fd, min(_CHUNK, end - start) + start - before, before)
        if len(data) <= start - before:
            return
        found = mask.places(data)
        if found:
            writer = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                for begin, over in found:
                    os.pwrite(writer, _BLOT * (over - begin), before + begin)
            finally:
                os.close(writer)
        start = before + len(data)
