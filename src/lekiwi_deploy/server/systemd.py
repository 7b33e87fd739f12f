"""What systemd is told, when it started us."""

from __future__ import annotations

import logging
import os
import socket


def notify_systemd(state: str) -> None:
    """Tells systemd, when it asked for it with NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
        try:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.sendall(state.encode())
        except OSError as error:
            logging.getLogger("lekiwi").warning("systemd could not be told %s: %s", state, error.strerror)
