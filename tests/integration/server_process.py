"""A whole server as its own process, for tests that start, stop and kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE_S = 60.0


class ServerProcess:
    """`python -m lekiwi_deploy.server`; `lines` is all that it wrote to stderr so far."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEKIWI_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lekiwi_deploy.server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **(environ or {})},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def until(self, text: str) -> str:
        """The first line with `text` in it."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, PATIENCE_S)
            line = found()
        assert line is not None, f"no {text!r} in {self.lines}"
        return line

    @property
    def url(self) -> str:
        """Where it answers, once it does."""
        url = self.until("  URL ").split()[-1]
        self.until("  data ")
        return url

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def ask(self, method: str, path: str, token: str, **rest: object) -> httpx.Response:
        """An answer of its API."""
        headers = {"authorization": f"Bearer {token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=20, trust_env=False, **rest)  # type: ignore[arg-type]


@contextmanager
def running(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """A server that is stopped in the end, if it still runs."""
    server = ServerProcess(*arguments, environ=environ)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def owner_token(data: Path) -> str:
    """The token that the first start left."""
    return (data / "owner-token").read_text().strip()


def end_postgres(data: Path) -> None:
    """Ends the PostgreSQL that a killed server left in `data`."""
    from lekiwi_deploy.server.engines.postgres_leftover import end_leftover

    end_leftover(data / "postgres")
