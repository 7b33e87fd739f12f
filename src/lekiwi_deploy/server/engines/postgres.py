"""PostgreSQL inside DIR: made on first use, started and stopped with the server.

No TCP: a unix socket in a folder that only PostgreSQL's account and root may enter, and a password (scram-sha-256) that lies in
`DIR/postgres-password` (0600). `DIR/postgres` is the cluster. All functions block; call them from a thread.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.engines.postgres_leftover import end_leftover
from lekiwi_deploy.server.engines.postgres_program import MAJOR, Account, account, check_reachable, programs

_log = logging.getLogger("lekiwi.postgres")

USER = "lekiwi"
SOCKET_LIMIT = 107
"""Bytes in the path of a unix socket."""

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "40",
        "shared_buffers": "64MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "512MB",
        "checkpoint_timeout": "15min",
        "max_worker_processes": "2",
        "max_parallel_workers_per_gather": "0",
        "io_method": "sync",
        "jit": "off",
        "autovacuum_max_workers": "1",
        "idle_in_transaction_session_timeout": "60s",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
)
"""For one server on a small machine: few processes, little memory, and every commit on the disk before it counts."""


class EmbeddedPostgres:
    """One cluster in `data`, which must be ours alone (see `DIR/lock`)."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        """`settings` override `SETTINGS`."""
        self.data = data
        self.cluster = data / "postgres"
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._temporary = False

    def start(self) -> str:
        """Starts PostgreSQL, after making the cluster when there is none and ending a process that a killed server left.

        Returns the connection string of its database. Raises `Failed`, saying why it cannot run.
        """
        who = account()
        check_reachable(self.data, who)
        binaries = programs(self.data, who)
        self._adopt_files(who)
        end_leftover(self.cluster)
        self._sockets = self._socket_folder(who)
        password = self._password()
        if not (self.cluster / "PG_VERSION").exists():
            self._make(binaries, who, password)
        self._check_version()
        self._launch(binaries, who)
        return f"postgresql://{USER}:{password}@/postgres?host={self._sockets}"

    def stop(self) -> None:
        """Ends PostgreSQL cleanly: open transactions are rolled back, everything is on disk when this returns."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                try:
                    self._process.wait(30)
                except subprocess.TimeoutExpired:
                    _log.warning(
                        "PostgreSQL did not stop in 30 s and is told to stop at once; it recovers at the next start"
                    )
                    self._process.send_signal(signal.SIGQUIT)
                    self._process.wait(30)
            self._process = None
        if self._temporary and self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None

    def running(self) -> bool:
        """Whether the process that `start` made is alive."""
        return self._process is not None and self._process.poll() is None

    def wait(self) -> None:
        """Blocks until the process that `start` made has ended."""
        if self._process is not None:
            self._process.wait()

    @property
    def pid(self) -> int | None:
        """Process id of PostgreSQL's first process, None when not started."""
        return None if self._process is None else self._process.pid

    def _adopt_files(self, who: Account) -> None:
        """A cluster that was copied, or made by someone else, belongs to the account again (root), or is refused."""
        if not self.cluster.exists():
            return
        owner = self.cluster.stat().st_uid
        if owner == who.uid:
            return
        if not who.switch:
            raise Failed(
                f"{self.cluster} belongs to another user (uid {owner}): run the server as that user or as root",
                next=(f"chown -R {who.uid} {self.cluster}",),
            )
        for folder, folders, files in os.walk(self.cluster):
            for name in (*folders, *files):
                who.own(Path(folder) / name)
        who.own(self.cluster)
        self.cluster.chmod(0o700)

    def _socket_folder(self, who: Account) -> Path:
        """In DIR when the path is short enough for a socket, else a private temporary folder."""
        if self._sockets is not None and self._sockets.is_dir():
            return self._sockets  # started again: the connection string stays the same
        folder = self.data / "postgres-socket"
        self._temporary = len(os.fsencode(folder / ".s.PGSQL.5432.lock")) > SOCKET_LIMIT
        if self._temporary:
            folder = Path(tempfile.mkdtemp(prefix="lekiwi-"))
        else:
            folder.mkdir(mode=0o700, exist_ok=True)
        who.own(folder)
        folder.chmod(0o700)
        return folder

    def _password(self) -> str:
        path = self.data / "postgres-password"
        if path.exists():
            return path.read_text().strip()
        if (self.cluster / "PG_VERSION").exists():
            raise Failed(f"{path} is missing, and without it the database in {self.cluster} cannot be opened")
        password = secrets.token_hex(24)
        write_private(path, password)
        return password

    def _make(self, binaries: Path, who: Account, password: str) -> None:
        """Made under another name and renamed: a cluster is complete or not there."""
        assert self._sockets is not None
        staging = self.data / "postgres.tmp"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        who.own(staging)
        handed_over = self._sockets / "password"
        write_private(handed_over, password)
        who.own(handed_over)
        try:
            done = who.run(
                *(binaries / "initdb", "-D", staging, "-U", USER, "--auth=scram-sha-256", f"--pwfile={handed_over}"),
                *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(
                    "--no-instructions",
                    "--sync-method=syncfs" if os.uname().sysname == "Linux" else "--sync-method=fsync",
                ),
            )
        finally:
            handed_over.unlink()
        if done.returncode != 0:
            raise Failed(
                f"PostgreSQL could not make its files in {staging}: {_last(done.stdout.decode(errors='replace'))}"
            )
        staging.rename(self.cluster)
        sync_folder(self.data)

    def _check_version(self) -> None:
        found = (self.cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR:
            raise Failed(
                f"{self.cluster} was made by PostgreSQL {found}, this server has {MAJOR}: move the data with pg_dump and psql"
            )

    def _launch(self, binaries: Path, who: Account) -> None:
        assert self._sockets is not None
        argv = [str(binaries / "postgres"), "-D", str(self.cluster), "-k", str(self._sockets)]
        for name, value in self._settings.items():
            argv += ["-c", f"{name}={value}"]
        log = self.data / "postgres.log"
        deadline = time.monotonic() + 60
        while True:
            if log.exists() and log.stat().st_size > 10_000_000:
                log.replace(log.with_suffix(".log.old"))
            with log.open("ab") as output:
                before = output.tell()
                self._process = subprocess.Popen(  # type: ignore[call-overload]
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    start_new_session=True,  # Ctrl-C in our terminal is ours to handle
                    **who.as_options(),
                )
            if self._wait_ready(deadline):
                return
            self._process.wait()
            self._process = None
            said = log.read_bytes()[before:].decode(errors="replace")
            # Backends of a killed PostgreSQL need a moment to notice.
            if "pre-existing shared memory block" not in said or time.monotonic() > deadline:
                raise Failed(f"PostgreSQL does not start ({log}): {_last(said)}")
            time.sleep(0.1)

    def _wait_ready(self, deadline: float) -> bool:
        """Whether it takes connections; False when it ended before."""
        assert self._process is not None
        pid_file = self.cluster / "postmaster.pid"
        while self._process.poll() is None:
            try:
                lines = pid_file.read_text().splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                return True
            if time.monotonic() > deadline:
                self._process.send_signal(signal.SIGQUIT)
                raise Failed("PostgreSQL did not become ready in 60 s")
            time.sleep(0.005)
        return False


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, durably; replaces what was there."""
    staging = path.with_name(path.name + ".tmp")
    staging.unlink(missing_ok=True)
    fd = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error" in line.lower()]
    return " ".join((telling or lines)[-2:])[:500] or "it said nothing"
