"""Who listens on a port of this machine, as the kernel lists it (proc(5), `/proc/net/tcp`)."""

from __future__ import annotations

from lekiwi_deploy.agent.private_ports import is_free

_LISTEN = b"0A"


def strangers(port: int) -> frozenset[int]:
    """Who listens on `port` now that the service which is to have it is about to start: as a rule nobody, which is cheap to tell."""
    return frozenset() if is_free(port) else listeners(port)


def listeners(port: int) -> frozenset[int]:
    """Inodes of the sockets that listen on TCP `port`, on any address. Empty where the kernel does not tell.

    Costs tens of milliseconds: the kernel walks its table of all connections.
    """
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
