"""Why a public port cannot be had, in words that a person can act on."""

from __future__ import annotations

import errno
import os

from lekiwi_deploy.agent.traffic.programs import program_of
from lekiwi_deploy.agent.traffic.sock_diag import listeners
from lekiwi_deploy.errors import Conflict, Failed, LekiwiError, NotAllowed


def cannot_listen(port: int, code: int) -> LekiwiError:
    """The error for a public port that could not be listened on. `code`: errno."""
    if code == errno.EADDRINUSE:
        return taken(port)
    if code in (errno.EACCES, errno.EPERM):
        return NotAllowed(
            f"port {port} may not be listened on by an ordinary user: ports below 1024 need root, or CAP_NET_BIND_SERVICE",
            details={"port": port},
        )
    return Failed(f"port {port} cannot be listened on: {os.strerror(code)}", details={"port": port})


def taken(port: int) -> Conflict:
    """The error for a public port that another program listens on."""
    try:
        found = listeners(port)
    except OSError:
        found = ()
    program = program_of({each.inode for each in found}) or "another program"
    where = f" ({', '.join(sorted({each.address for each in found}))})" if found else ""
    return Conflict(
        f"{program} listens on port {port} already{where}; stop it, or give the service another port in lekiwi.yaml",
        next=(f"ss -ltnp 'sport = :{port}'",),
        details={"port": port},
    )
