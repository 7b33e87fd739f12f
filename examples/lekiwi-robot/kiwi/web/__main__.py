"""`PORT=8000 python -m kiwi.web`"""

from __future__ import annotations

import os
import signal
import sys

from kiwi.web.server import Server


def main() -> None:
    """Serve until SIGTERM, which ends it at once: there is nothing to save."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    port = os.environ.get("PORT", "8000")
    if not port.isdigit() or int(port) > 65535:
        sys.exit(f"PORT must be a port number, not {port!r}")
    robot, version = os.environ.get("LEKIWI_ROBOT", "a robot"), os.environ.get("LEKIWI_VERSION", "not deployed")
    try:
        server = Server(int(port), robot, version)
    except OSError as error:
        sys.exit(f"cannot listen on port {port}: {error.strerror}")
    print(f"page on port {server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=3600)


main()
