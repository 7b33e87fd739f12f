"""A real agent process on a root folder of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from agent_server import AgentServer

WEB = """
import http.server, os, sys
TEXT = {text!r}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = {status}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(TEXT.encode())
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    def server_bind(self):
        import socketserver
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
print("starting", TEXT, flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def web_code(text: str, *, status: int = 200) -> str:
    """A small web server that says `text`."""
    return WEB.format(text=text, status=status)


class AgentRobot:
    """`lekiwi-agent` on `root`, joined to `server`. Every process that it started is gone after `end`."""

    def __init__(self, root: Path, server: AgentServer) -> None:
        self.root = root
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None
        self.output = root.with_name(root.name + ".log")

    def environment(self, **more: str) -> dict[str, str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith("LEKIWI_")}
        return {**known, **more}

    def command(self, *arguments: str, within_s: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """`lekiwi-agent ARGUMENTS --root ROOT`."""
        return subprocess.run(
            [sys.executable, "-m", "lekiwi_deploy.agent", *arguments, "--root", str(self.root)],
            capture_output=True,
            text=True,
            timeout=within_s,
            env=self.environment(**environment),
            check=False,
        )

    def join(self) -> None:
        done = self.command("join", self.server.url, "--token", self.server.join_token)
        assert done.returncode == 0, done.stderr

    def start(self, *arguments: str, **environment: str) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lekiwi_deploy.agent", "run", "--root", str(self.root), *arguments],
                stdout=output,
                stderr=output,
                env=self.environment(**environment),
            )

    def kill(self) -> None:
        """SIGKILL to the agent alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def died(self, within_s: float = 20.0) -> int:
        """Wait until the agent ended by itself."""
        assert self.process is not None
        return self.process.wait(within_s)

    def end(self) -> None:
        """Whatever is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in (*self.processes(), *self.relays()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Of its services: whatever inherited their state folder."""
        marker = f"LEKIWI_STATE={self.root}/".encode()
        found = []
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdecimal():
                with contextlib.suppress(OSError):
                    if any(
                        item.startswith(marker) for item in Path("/proc", name, "environ").read_bytes().split(b"\0")
                    ):
                        found.append(int(name))
        return found

    def awake(self) -> list[int]:
        """Those of `processes` that are not paused."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()[0] != b"T":
                    found.append(pid)
        return found

    def relays(self) -> list[int]:
        """Processes that bring connections to its services."""
        socket_ = f"{self.root}/run/lekiwi/relay.sock".encode()
        found = []
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdecimal():
                with contextlib.suppress(OSError):
                    if socket_ in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                        found.append(int(name))
        return found

    def current(self) -> str | None:
        try:
            return (self.root / "opt/lekiwi/current").readlink().name
        except FileNotFoundError:
            return None

    def status(self) -> dict[str, Any]:
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def journal(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "var/lib/lekiwi-agent/journal.json").read_bytes())
        return found


def body(port: int) -> str | None:
    """What the service on `port` says; None: nothing."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return None


def eventually(what: str, condition: Any, within_s: float = 20.0) -> Any:
    """Wait until it holds."""
    deadline = time.monotonic() + within_s
    pause = __import__("threading").Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        pause.wait(0.03)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
