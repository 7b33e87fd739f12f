"""git's pre-receive and post-receive hook: sends what git says to the server and prints what the server answers, as it comes.

Run by git as a program of its own (`python -I -S hook.py NAME`), twice in every push, so it imports what is built in only and starts in
milliseconds. It decides nothing: the exit code is the server's. Request: `key=value` parts with NUL between them; answer: lines
`=text` to print, at last `!code`.
"""

from __future__ import annotations

import _socket
import os
import sys

GONE = " !     The server stopped; nothing was deployed by this push. Push again."
GONE_LATER = " !     The server stopped; the push is stored and goes live when the server is back."
KEPT = (
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "LEKIWI_PROJECT",
    "LEKIWI_PUSH_BY",
    "LEKIWI_PUSH_FROM",
)
MAX_INPUT = 8 << 20
SILENCE_S = 60.0
"""The server sends something at least every 10 s."""


def main(name: str) -> int:
    """Relays one hook call; returns the exit code."""
    count = min(int(os.environ.get("GIT_PUSH_OPTION_COUNT") or 0), 100)
    parts = [f"folder={os.getcwd()}"]  # noqa: PTH109 - no pathlib: this starts in milliseconds
    parts += [f"option={os.environ.get(f'GIT_PUSH_OPTION_{number}', '')}" for number in range(count)]
    parts += [f"{key}={os.environ[key]}" for key in KEPT if key in os.environ]
    body = "\0".join(parts).encode("utf-8", "surrogateescape") + b"\0updates=" + sys.stdin.buffer.read(MAX_INPUT)
    try:
        return relay(name, body)
    except (OSError, ValueError):
        say((GONE if name == "pre-receive" else GONE_LATER).encode())
        return 1 if name == "pre-receive" else 0


def relay(name: str, body: bytes) -> int:
    """Sends the request, prints lines, returns the exit code. Raises `OSError` or `ValueError` when the server goes away before."""
    url = os.environ["LEKIWI_HOOK_URL"].removeprefix("http://").rstrip("/")
    host, _, port = url.rpartition(":")
    host = host.strip("[]")
    connection = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
    connection.settimeout(SILENCE_S)
    connection.connect((host, int(port)))
    head = (
        f"POST /internal/git/{name} HTTP/1.1\r\nHost: {url}\r\nAuthorization: Bearer {os.environ['LEKIWI_HOOK_SECRET']}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    received = b""
    while b"\r\n\r\n" not in received:
        received += some(connection)
    answer, received = received.split(b"\r\n\r\n", 1)
    if answer.split()[1] != b"200" or b"transfer-encoding: chunked" not in answer.lower():
        raise ValueError("the server does not answer as it should")
    text = b""
    while True:
        while b"\r\n" not in received:
            received += some(connection)
        size, received = received.split(b"\r\n", 1)
        length = int(size, 16)
        if length == 0:
            raise ValueError("the server ended its answer early")
        while len(received) < length + 2:
            received += some(connection)
        text, received = text + received[:length], received[length + 2 :]
        *lines, text = text.split(b"\n")
        for line in lines:
            if line.startswith(b"!"):
                return int(line[1:])
            if line.startswith(b"="):
                say(line[1:])


def some(connection: _socket.socket) -> bytes:
    """The next bytes. Raises `OSError` when there will be none."""
    data = connection.recv(65536)
    if not data:
        raise OSError("the server went away")
    return data


def say(line: bytes) -> None:
    """One line for the user, at once. That nobody hears it is no error: the push goes on."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
