"""Private ports: where an instance of a service with a port listens, while connections to the public port are brought to it."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Collection
from pathlib import Path

from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.wire.ids import InstanceId

FIRST, LAST = 24000, 27999


def choose(root: Path, instance: InstanceId, taken: Collection[int]) -> int:
    """Always the same port for an instance of a robot, unless it is in use; then the next that is free. Raises `Unavailable`."""
    count = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(os.fsencode(root) + b"\0" + instance.encode()).digest()[:4], "big") % count
    for step in range(count):
        port = FIRST + (start + step) % count
        if port not in taken and is_free(port):
            return port
    raise Unavailable(f"no port between {FIRST} and {LAST} is free on this machine")


def is_free(port: int) -> bool:
    """Whether nobody listens on it, on whatever address."""
    try:
        probe = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        everywhere = "::"
    except OSError:  # no IPv6 here
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        everywhere = ""
    with probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if everywhere:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind((everywhere, port))
        except OSError:
            return False
    return True
