"""git's pre-receive and post-receive hook: sends what git says to the server and prints what the server answers, as it comes.

Run by git as a program of its own (`python -I -S hook.py NAME`), so it imports the standard library only and starts in milliseconds.
It decides nothing: the exit code is the server's.
"""

from __future__ import annotations

import json
import os
import socket
import sys

GONE = " !     The server stopped; nothing was deployed by this push. Push again."
GONE_LATER = " !     The server stopped following; the push is stored and goes live when the server is back."
KEPT = (
    "GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH",
    "LEKIWI_PROJECT", "LEKIWI_PUSH_BY",
)  # fmt: skip
MAX_INPUT = 8 << 20


def main(name: str) -> int:
    """Relays one hook call; returns the exit code."""
    count = min(int(os.environ.get("GIT_PUSH_OPTION_COUNT") or 0), 100)
    body = json.dumps(
        {
            "updates": sys.stdin.buffer.read(MAX_INPUT).decode("utf-8", "replace"),
            "options": [os.environ.get(f"GIT_PUSH_OPTION_{number}", "") for number in range(count)],
            "env": {key: os.environ[key] for key in KEPT if key in os.environ},
            "folder": os.getcwd(),  # noqa: PTH109 - no pathlib: this starts in milliseconds
        }
    ).encode()  # fmt: skip
    try:
        return relay(name, body)
    except (OSError, ValueError):
        if name == "pre-receive":
            say(GONE)
            return 1
        say(GONE_LATER)
        return 0


def relay(name: str, body: bytes) -> int:
    """Sends the request, prints lines, returns the exit code. Raises `OSError` when the server goes away before giving it."""
    url = os.environ["LEKIWI_HOOK_URL"].removeprefix("http://").rstrip("/")
    host, _, port = url.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.settimeout(120)  # the server sends something at least every 10 s
        head = (
            f"POST /internal/git/{name} HTTP/1.1\r\nHost: {url}\r\nAuthorization: Bearer {os.environ['LEKIWI_HOOK_SECRET']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        with connection.makefile("rb") as answer:
            status = answer.readline().split()
            chunked = False
            while (header := answer.readline().strip().lower()) != b"":
                chunked = chunked or (header.startswith(b"transfer-encoding:") and b"chunked" in header)
            if len(status) < 2 or status[1] != b"200" or not chunked:
                raise OSError("the server does not answer as it should")
            rest = b""
            while True:
                size = int(answer.readline().split(b";")[0], 16)
                if size == 0:
                    raise OSError("the server ended its answer early")
                rest += answer.read(size)
                answer.readline()
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    if line.strip():
                        entry = json.loads(line)
                        if "exit" in entry:
                            return int(entry["exit"])
                        say(entry["line"])


def say(line: str) -> None:
    """One line for the user, at once. What nobody hears any more is not an error: the push goes on."""
    try:
        sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
        sys.stdout.buffer.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
