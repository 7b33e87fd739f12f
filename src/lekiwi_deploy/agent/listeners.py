"""Who listens on a port of this machine, as the kernel lists it (proc(5), `/proc/net/tcp`)."""

from __future__ import annotations

_LISTEN = b"0A"


def listeners(port: int) -> frozenset[int]:
    """Inodes of the sockets that listen on TCP `port`, on any address. Empty where the kernel does not tell."""
    suffix = b":%04X" % port
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, "rb") as file:  # noqa: PTH123
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            if suffix not in line:
                continue
            fields = line.split()
            if fields[3] == _LISTEN and fields[1].endswith(suffix):
                found.add(int(fields[9]))
    return frozenset(found)
