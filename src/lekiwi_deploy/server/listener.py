"""The one port: bound before anything else, so that a port in use is known at once."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import replace

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.config import Config

_BACKLOG = 2048


def listen(config: Config) -> tuple[socket.socket, Config]:
    """A listening socket, and the configuration with the port it got and the URLs that lead to it.

    Raises `Failed` when the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Failed(f"--host {config.host!r} is not an address of this machine: {error.strerror}") from error
    family, _, _, _, address = found[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot(config, error) from error
    listener.setblocking(False)
    host, port = listener.getsockname()[:2]
    wildcard = ipaddress.ip_address(host.partition("%")[0]).is_unspecified
    local = "127.0.0.1" if wildcard and family == socket.AF_INET else "::1" if wildcard else host
    reachable = _outward(family) or local if wildcard else host
    return listener, replace(
        config,
        port=port,
        url=config.url or f"http://{_bracketed(reachable)}:{port}",
        local_url=f"http://{_bracketed(local)}:{port}",
    )


def _cannot(config: Config, error: OSError) -> Failed:
    if error.errno == errno.EADDRINUSE:
        return Failed(
            f"port {config.port} on {config.host} is in use by another program",
            next=(f"lekiwi server --port {config.port + 1}", "lekiwi server --port 0"),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failed(f"port {config.port} may not be used by an ordinary user", next=("lekiwi server --port 8080",))
    return Failed(f"cannot listen on {config.host} port {config.port}: {error.strerror}")


def _outward(family: int) -> str | None:
    """This machine's address towards others; nothing is sent to find it out."""
    target = ("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(target)
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
