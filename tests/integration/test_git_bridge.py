"""What the git address answers to others than a well-behaved git, and what a hook does without its server."""

from __future__ import annotations

import asyncio
import base64
import gzip
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from git_server import GitServer, Repository, serving

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git import hook

pytestmark = [pytest.mark.anyio, pytest.mark.engine]


@pytest.fixture
async def server(context: Context) -> AsyncIterator[GitServer]:
    async with serving(context) as made:
        yield made


async def ask(
    server: GitServer, method: str, path: str, *, token: str | None = None, body: bytes = b"", headers: str = ""
) -> tuple[int, str]:
    """Status and text of one request, its path sent exactly as given."""
    host, port = server.url.removeprefix("http://").split(":")
    secret = base64.b64encode(f"x:{token or server.owner}".encode()).decode()
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}"
    head += f"Authorization: Basic {secret}\r\n" if token != "" else ""
    writer.write(head.encode() + b"\r\n" + body)
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode("latin-1")
    writer.close()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize(
    "path",
    [
        "/git/arm.git/HEAD",
        "/git/arm.git/objects/info/packs",
        "/git/arm.git/info/refs",
        "/git/arm.git/info/refs?service=git-upload-archive",
        "/git/arm.git/info/refs?service=git-upload-pack&x=1",
        "/git/arm.git/config",
        "/git/../secret.git/info/refs?service=git-upload-pack",
        "/git/..%2f..%2fetc.git/info/refs?service=git-upload-pack",
        "/git/%2e%2e.git/info/refs?service=git-upload-pack",
        "/git/a/b.git/info/refs?service=git-upload-pack",
        "/git/.git/info/refs?service=git-upload-pack",
        "/git/-x.git/info/refs?service=git-receive-pack",
        "/git/" + "x" * 200 + ".git/info/refs?service=git-receive-pack",
        "/git/",
    ],
)
async def test_only_the_smart_protocol_of_a_project_is_served(server: GitServer, path: str) -> None:
    status, answer = await ask(server, "GET", path)
    assert status == 403, answer
    assert "text/plain" in answer and "Traceback" not in answer
    assert not (server.context.config.data / "git").exists()


async def test_other_methods_are_refused(server: GitServer) -> None:
    for method, path in (
        ("POST", "/git/arm.git/info/refs?service=git-upload-pack"),
        ("GET", "/git/arm.git/git-upload-pack"),
        ("PUT", "/git/arm.git/git-receive-pack"),
    ):
        assert (await ask(server, method, path))[0] == 403


async def test_nobody_gets_in_without_a_token_and_git_is_told_to_ask_for_one(server: GitServer) -> None:
    status, answer = await ask(server, "GET", "/git/arm.git/info/refs?service=git-upload-pack", token="")
    assert status == 401 and 'www-authenticate: Basic realm="lekiwi' in answer
    for wrong in ("x", server.owner[:-1] + "!", "lkd_pat_" + "a" * 38):
        assert (await ask(server, "GET", "/git/arm.git/info/refs?service=git-upload-pack", token=wrong))[0] == 401


async def test_a_half_sent_or_garbled_pack_changes_nothing(server: GitServer, tmp_path: Path) -> None:
    clone = Repository(tmp_path / "clone")
    await clone.commit({"run*": "#!/bin/sh\n"})
    await clone.git("push", "-o", "wait=false", server.address("arm"), "main")
    zero, new = "0" * 40, "1" * 40
    line = f"{zero} {new} refs/heads/x\0 report-status".encode()
    packet = f"{len(line) + 4:04x}".encode() + line + b"0000"
    kind = "Content-Type: application/x-git-receive-pack-request\r\n"
    for body in (
        packet + b"PACK\0\0\0\2\0\0\0\1garbage",
        packet,
        packet[:10],
        b"zzzz",
        gzip.compress(b"0" * 10_000_000),
    ):
        for encoding in ("", "Content-Encoding: gzip\r\n"):
            status, answer = await ask(
                server, "POST", "/git/arm.git/git-receive-pack", body=body, headers=kind + encoding
            )
            assert status in (200, 403, 500) and "Traceback" not in answer
    assert (await clone.git("ls-remote", server.address("arm"))).text.count("refs/heads/") == 1


async def test_nobody_but_our_hooks_may_use_the_hooks_address(server: GitServer) -> None:
    for path in ("/internal/git/pre-receive", "/internal/git/post-receive", "/internal/git/../x"):
        status, _ = await ask(server, "POST", path, body=b"updates=")
        assert status in (403, 404)
    status, _ = await ask(
        server,
        "POST",
        "/internal/git/pre-receive",
        token="",
        headers=f"Authorization: Bearer {server.context.hook_secret}x\r\n",
    )
    assert status == 403


async def run_hook(name: str, url: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", hook.__file__, name,
        env={"LEKIWI_HOOK_URL": url, "LEKIWI_HOOK_SECRET": "s", "LEKIWI_PROJECT": "arm"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(20):
        out, _ = await process.communicate(b"")
    assert process.returncode is not None
    return process.returncode, out.decode()


CHUNK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n=hello\n\r\n"


@pytest.mark.parametrize(
    "answer", [b"", CHUNK, CHUNK + b"0\r\n\r\n", CHUNK + b"3\r\n=ha", b"HTTP/1.1 500 no\r\n\r\n", b"junk"]
)
async def test_a_hook_whose_server_vanishes_refuses_the_push_and_says_to_push_again(answer: bytes) -> None:
    async def vanish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(vanish, "127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        code, text = await run_hook("pre-receive", url)
        assert code == 1 and text.endswith("The server stopped; nothing was deployed by this push. Push again.\n")
        assert answer[:1] != CHUNK[:1] or CHUNK not in answer or text.startswith("hello\n")
        later, text = await run_hook("post-receive", url)
        assert later == 0 and "goes live when the server is back" in text


async def test_a_hook_without_any_server_refuses_the_push(unused_port: int) -> None:
    code, text = await run_hook("pre-receive", f"http://127.0.0.1:{unused_port}")
    assert code == 1 and "Push again" in text


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
