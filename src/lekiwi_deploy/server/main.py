"""Composition root: `python -m lekiwi_deploy.server`. Wires engines, loops and the one port; decides nothing."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from lekiwi_deploy import __version__
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.config import Config, parse
from lekiwi_deploy.server.data_folder import locked
from lekiwi_deploy.server.listener import listen
from lekiwi_deploy.server.systemd import notify_systemd

OWNER_TOKEN = "owner-token"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until SIGTERM or SIGINT. Returns 0; 1 after one clear line when it cannot run; 2 for bad options."""
    try:
        config = parse(
            sys.argv[1:] if arguments is None else arguments,
            os.environ,
            root=os.geteuid() == 0,
            home=Path.home(),
            cwd=Path.cwd(),
        )
        _log_to_stderr(config)
        with locked(config.data):
            listener, config = listen(config)
            return _run(config, listener)
    except LekiwiError as error:
        _say(f"lekiwi server: {error.message}")
        for line in error.next:
            _say(f"  try: {line}")
        return 2 if error.code == "bad_input" else 1
    except KeyboardInterrupt:
        return 130


def _run(config: Config, listener: socket.socket) -> int:
    from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres
    from lekiwi_deploy.server.store.migrate import migrate

    # From here on the two signals mean: end in order. Before the event loop takes over that is an exception.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    engine = None
    try:
        database_url = config.database_url
        if database_url is None:
            engine = EmbeddedPostgres(config.data)
            database_url = engine.start()
        migrate(database_url)

        from lekiwi_deploy.server.serve import serve_until_stopped

        serve_until_stopped(config, database_url, engine, listener, started)
    finally:
        listener.close()
        if engine is not None:
            engine.stop()
    return 0


def started(config: Config, first: bool) -> None:
    """Tells whoever started us where it is and, on the first start, how to log in."""
    database = "your PostgreSQL" if config.database_url else "PostgreSQL inside"
    _say(f"lekiwi server {__version__}")
    _say(f"  URL   {config.url}")
    _say(f"  data  {config.data}  ({database}; content in {config.store or config.data / 'objects'})")
    if first:
        _say("First start. Log in as its owner with:")
        _say(f"  lekiwi login {config.url} --token-stdin < {shlex.quote(str(config.data / OWNER_TOKEN))}")
    notify_systemd("READY=1")


def _log_to_stderr(config: Config) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if config.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for noisy in ("httpx", "alembic", "uvicorn", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
