"""The way to one machine: the system's own `ssh`, which a person logs in with once; everything after goes over that connection."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lekiwi_deploy.errors import BadInput, Failed, LekiwiError, NotAllowed, NotFound, Unauthenticated, Unavailable

ADDRESS = "address"
"""The label of a robot that says where SSH reaches it: `pi@10.0.0.5`."""
_BROKEN = 255
"""What `ssh` exits with when it, not the command there, failed."""
_CONNECT_S = 15


@dataclass(frozen=True)
class Route:
    """As given on the command line. `target`: what `ssh` is told, `pi@192.168.88.21`; `options`: for its `-o`."""

    target: str
    port: int | None = None
    identity: str | None = None
    options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """For any `ssh` to there."""
        port = ["-p", str(self.port)] if self.port is not None else []
        identity = ["-i", self.identity] if self.identity is not None else []
        # what a person says comes first: ssh takes the first value of an option
        given = [part for option in self.options for part in ("-o", option)]
        return [*port, *identity, *given, "-o", f"ConnectTimeout={_CONNECT_S}", "-o", "ServerAliveInterval=5"]


@dataclass(frozen=True)
class Done:
    """How a command there ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")


class Ssh:
    """A connection to `route`, made on entering and ended on leaving. `asks`: a person is there, whom `ssh` may ask for a password
    and about a host's key."""

    def __init__(self, route: Route, *, asks: bool) -> None:
        self.route = route
        self._asks = asks
        self._folder = tempfile.TemporaryDirectory(prefix="lekiwi-ssh-")
        self._socket = Path(self._folder.name, "s")
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Ssh:
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._master is not None and self._master.poll() is None:
            self._master.terminate()
            self._master.wait()
        self._folder.cleanup()

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        timeout_s: float = 120.0,
    ) -> Done:
        """Run a shell command there. `on_line` gets what it writes to stderr, as it comes. Raises what `explained` says when the
        connection breaks, `Failed` when it takes longer."""
        argv = [
            "ssh",
            "-T",
            "-S",
            str(self._socket),
            "-o",
            "ControlMaster=no",
            "-o",
            "BatchMode=yes",
            *self.route.arguments(),
        ]
        process = subprocess.Popen(
            [*argv, "--", self.route.target, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        late = threading.Timer(timeout_s, process.kill)
        late.start()
        out: list[bytes] = []
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
        reader = threading.Thread(target=lambda stream: out.append(stream.read()), args=(process.stdout,), daemon=True)
        feeder.start()
        reader.start()
        said = []
        for line in process.stderr:
            said.append(line.decode(errors="replace").rstrip("\n"))
            if on_line is not None:
                on_line(said[-1])
        code = process.wait()
        reader.join()
        timed_out = not late.is_alive()
        late.cancel()
        process.stdout.close()
        process.stderr.close()
        err = "\n".join(said)
        if timed_out and code < 0:
            raise Failed(
                f"{self.route.target}: nothing came of a command within {timeout_s:.0f} s, and it was given up"
            )
        if code == _BROKEN:
            raise explained(err, self.route)
        return Done(code, b"".join(out), err)

    def _connect(self) -> None:
        batch = [] if self._asks else ["-o", "BatchMode=yes"]
        argv = [
            "ssh",
            "-N",
            "-M",
            "-S",
            str(self._socket),
            "-o",
            "ControlPersist=no",
            *batch,
            *self.route.arguments(),
            "--",
            self.route.target,
        ]
        said = Path(self._folder.name, "said")
        with said.open("wb") as errors:
            try:
                self._master = subprocess.Popen(
                    argv, stdin=None if self._asks else subprocess.DEVNULL, stdout=errors, stderr=errors
                )
            except FileNotFoundError:
                raise NotFound("there is no ssh on this machine", next=("apt install openssh-client",)) from None
        while not self._socket.exists():
            if self._master.poll() is not None:
                raise explained(said.read_text(errors="replace"), self.route)
            time.sleep(0.05)


def logs_in_with_key(route: Route) -> bool:
    """Whether a new connection is let in with a key, nobody being asked anything."""
    only_keys = ["-o", "PreferredAuthentications=publickey", "-o", "BatchMode=yes", "-o", "ControlPath=none"]
    command = ["ssh", "-T", *only_keys, *route.arguments(), "--", route.target, "true"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def somebody_is_there() -> bool:
    """Whether `ssh` can ask for a password: on a terminal, or through a program that was named for it."""
    return sys.stdin.isatty() or bool(os.environ.get("SSH_ASKPASS"))


def checked_target(text: str) -> str:
    """`text`, if `ssh` takes it for a host. Raises `BadInput`."""
    named = re.fullmatch(r"(ssh://)?([^@\s]+@)?[^@\s/:]+", text)
    numbered = re.fullmatch(r"([^@\s]+@)?\[?[0-9A-Fa-f:]+\]?", text)
    if text.startswith("-") or not (named or numbered):
        raise BadInput(f"{text[:60]!r} is no machine: give USER@HOST, such as pi@192.168.88.21 (and --port)")
    return text


def explained(said: str, route: Route) -> LekiwiError:
    """What `ssh` complained of, in words that say what to do. PURE."""
    who, text = (
        route.target,
        " ".join(line for line in said.splitlines() if not line.startswith("Warning: Permanently added")),
    )
    host = who.rpartition("@")[2]
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in text:
        return NotAllowed(
            f"{host} shows another host key than before: it was installed anew, or something else answers there",
            next=(f"ssh-keygen -R {host}   # if you know that it was installed anew",),
        )
    if "Host key verification failed" in text:
        return NotAllowed(
            f"the host key of {host} is not known here, and there was nobody to confirm it",
            next=(f"ssh {who}   # shows the key's fingerprint and asks",),
        )
    if "Permission denied" in text or "Too many authentication failures" in text:
        return Unauthenticated(
            f"{who} was not let in: the password is wrong, or none of your keys is known there",
            next=(f"ssh {who}", f"ssh-copy-id {who}"),
        )
    for sign, words, fix in (
        (
            "Could not resolve hostname",
            f"there is no machine named {host} as far as this one knows",
            "give its address: pi@192.168.88.21",
        ),
        (
            "Connection refused",
            f"{host} is there, but takes no SSH connections on this port",
            "enable SSH on it (raspi-config), or say --port",
        ),
        ("timed out", f"{host} does not answer", "is it on, and on this network?"),
        ("No route to host", f"{host} does not answer", "is it on, and on this network?"),
        (
            "Network is unreachable",
            f"{host} is on a network that this machine does not reach",
            "is it on this network?",
        ),
        ("Connection closed by", f"{host} hung up", "journalctl -u ssh   # on it"),
        ("Connection reset", f"{host} hung up", "journalctl -u ssh   # on it"),
    ):
        if sign in text:
            return Unavailable(words, next=(fix,))
    if re.search(r"[Bb]ad configuration option|command-line|unknown option|Bad port|no such identity", text):
        return BadInput(f"ssh does not take these options: {text[-300:]}")
    return Failed(f"the connection to {who} failed: {text[-300:] or 'ssh said nothing'}", next=(f"ssh {who}",))


def _feed(stream: object, data: bytes) -> None:
    try:
        stream.write(data)  # type: ignore[attr-defined]
        stream.close()  # type: ignore[attr-defined]
    except OSError:
        pass  # the command there ended without reading it all; its exit code says whether that was right
