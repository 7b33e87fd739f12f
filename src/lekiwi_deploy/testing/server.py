"""A real server in a folder: started, killed, started again on the same port."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import urllib.request
from pathlib import Path

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.programs import HERE, Installation, Program, clean_environment, end_all_below
from lekiwi_deploy.testing.waiting import NeverHappened, eventually

_URL = re.compile(r"http://(?:\d+\.){3}\d+:(\d+)")


class LocalServer:
    """`lekiwi server` below `folder` with its own PostgreSQL. Port 0 is chosen at the first start and kept.

    `lan`: it runs in the server's side of that network, where machines find it, and not on this machine's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        options: tuple[str, ...] = (),
        at: Installation = HERE,
        lan: Lan | None = None,
    ) -> None:
        self.data = folder
        self.port = port
        self.host = "127.0.0.1" if lan is None else lan.address
        self._options = options
        self._at = at
        self._lan = lan
        self._program: Program | None = None

    @property
    def url(self) -> str:
        """Its address; known once it was ready."""
        return f"http://{self.host}:{self.port}"

    @property
    def output(self) -> Path:
        """What it wrote."""
        return self.data.with_name(f"{self.data.name}.log")

    @property
    def program(self) -> Program:
        """The running process."""
        assert self._program is not None, "not started"
        return self._program

    def start(self, within_s: float = 60.0) -> None:
        """Start it and wait until it is ready. Raises `NeverHappened` with its last lines when it is not."""
        self.data.mkdir(parents=True, exist_ok=True)
        written = self.output.stat().st_size if self.output.exists() else 0
        argv = [self._at.python, "-m", "lekiwi_deploy.server", "--data", str(self.data), "--port", str(self.port)]
        argv += ["--host", self.host, *self._options]
        self._program = program = Program(
            argv if self._lan is None else self._lan.command(argv),
            environment=clean_environment(HOME=str(self.data.parent)),
            output=self.output,
        )

        def ready() -> bool:
            if program.exit_code is not None:
                raise NeverHappened(f"the server ended with {program.exit_code}:\n{program.last_lines(30)}")
            if self.port == 0:
                said = _URL.search(self.output.read_bytes()[written:].decode(errors="replace"))
                self.port = int(said[1]) if said else 0
            return self.port != 0 and self.is_ready()

        try:
            eventually("the server is ready", ready, within_s=within_s, every_s=0.05)
        except NeverHappened as error:
            program.kill()
            raise NeverHappened(f"{error}\n{program.last_lines(30)}") from None

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            with (
                self._lan.entered() if self._lan is not None else contextlib.nullcontext(),
                urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer,
            ):
                return bool(answer.status == 200)
        except OSError:
            return False

    def owner_token(self) -> str:
        """The token that the first start wrote."""
        return (self.data / "owner-token").read_text().strip()

    def kill(self) -> None:
        """SIGKILL to the server alone: its PostgreSQL and builds are left as a crash leaves them."""
        self.program.kill()

    def stop(self) -> int:
        """In order. Gives the exit code."""
        return self.program.end(30.0)

    def end(self) -> None:
        """Stop it and whatever a killed one left behind."""
        if self._program is not None:
            self._program.end(30.0)
        self._end_postgres()
        end_all_below(self.data)

    def _end_postgres(self) -> None:
        for pid_file in self.data.glob("postgres/**/postmaster.pid"):
            pid = int(pid_file.read_text().partition("\n")[0] or 0)
            if _is_postgres(pid):
                os.kill(pid, signal.SIGQUIT)
                eventually("PostgreSQL ends", functools.partial(_has_ended, pid))


def _is_postgres(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _has_ended(pid: int) -> bool:
    return not _is_postgres(pid)
