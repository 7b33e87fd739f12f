"""One GET to a service on this machine."""

from __future__ import annotations

import socket


def body_of(port: int, path: str = "/", *, timeout_s: float = 5.0) -> str | None:
    """What is answered with status 200; None while nobody answers, or with something else."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as link:
            link.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = b"".join(iter(lambda: link.recv(65536), b""))
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode(errors="replace") if b" 200 " in head.partition(b"\r\n")[0] else None
