"""Which program a socket belongs to, for a message that a person can act on."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def program_of(inodes: Collection[int]) -> str | None:
    """`nginx (process 812)` of one of the programs that hold one of these sockets. None: none of them may be looked into."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            for fd in os.listdir(process / "fd"):  # noqa: PTH208
                if os.readlink(process / "fd" / fd) in wanted:  # noqa: PTH115
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # another user's, or gone by now
            continue
    return None
