"""`/git/<project>.git/…`: git's smart HTTP protocol, carried by `git http-backend`, as raw ASGI.

The request's body goes to the program as it comes and its answer to the client as it comes: lines of a hook reach the terminal within
milliseconds, and a push of any size is never held in memory. A client that goes away stops following; the push itself goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lekiwi_deploy.errors import HTTP_STATUS, BadInput, Failed, LekiwiError, NotAllowed, NotFound, Unavailable
from lekiwi_deploy.server.auth import RANK, require
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import ensure_repository, git_environment
from lekiwi_deploy.server.origin import origin
from lekiwi_deploy.server.store import audit, projects
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import ProjectName, checked_name

Scope = Mapping[str, Any]
CHUNK = 1 << 16
STUCK_S = 20.0
"""How long the program may take to end after its answer ended."""

_PATH = re.compile(r"/git/(?P<project>[^/]{1,80})\.git/(?P<rest>info/refs|git-upload-pack|git-receive-pack)\Z")
_QUERY = re.compile(r"service=(git-upload-pack|git-receive-pack)\Z")
_PROTOCOL = re.compile(r"[A-Za-z0-9=:._-]{1,100}\Z")
_log = logging.getLogger("lekiwi.git")


class GitBridge:
    """The ASGI callable for everything below `/git/`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request. Errors are plain text, which git shows its user as `remote:` lines."""
        try:
            service, project, rest = _checked(scope)
            identity = await self._context.auth.identify(_header(scope, b"authorization"))
            repository = await self._repository(project, service, identity)
            env = self._environment(scope, project, rest, identity)
        except LekiwiError as error:
            await _refuse(send, error)
            return
        except Exception:
            _log.exception("git request %s", scope["path"])
            await _refuse(send, Failed("the server made a mistake; its log has the particulars", code="internal"))
            return
        await _serve(repository, env, receive, send)

    async def _repository(self, project: str, service: str, identity: Identity) -> Path:
        """Where the project's repository is, after checking that `identity` may use it so; an owner's first push makes the project."""
        pushing = service == "git-receive-pack"
        require(identity, Role.DEPLOYER if pushing else Role.VIEWER)
        name = ProjectName(checked_name("a project", project))
        async with self._context.database.transaction() as tx:
            if not await projects.exists(tx, name):
                if not pushing:
                    raise NotFound(f"there is no project {name!r} on this server; lekiwi link {name} creates it")
                if RANK[identity.role] < RANK[Role.OWNER]:
                    raise NotAllowed(
                        f"there is no project {name!r} on this server; an owner creates it with lekiwi link {name} or by pushing"
                    )
                now = self._context.now()
                if await projects.insert(tx, name, identity.name, now):
                    await audit.record(tx, identity.name, "project.create", f"project/{name}", {"by": "git push"})
        return await ensure_repository(self._context.config.data, name)

    def _environment(self, scope: Scope, project: str, rest: str, identity: Identity) -> dict[str, str]:
        config = self._context.config
        client = scope.get("client") or ("", 0)
        env = {
            "GIT_PROJECT_ROOT": str(config.data / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{project}.git/{rest}",
            "REQUEST_METHOD": scope["method"],
            "QUERY_STRING": scope["query_string"].decode("latin-1"),
            "CONTENT_TYPE": _header(scope, b"content-type") or "",
            "REMOTE_USER": re.sub(r"[^\w.@+-]", "_", identity.name),
            "REMOTE_ADDR": str(client[0]),
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "LEKIWI_PROJECT": project,
            "LEKIWI_PUSH_BY": identity.name,
            "LEKIWI_PUSH_FROM": origin(),
            "LEKIWI_HOOK_URL": config.local_url,
            "LEKIWI_HOOK_SECRET": self._context.hook_secret,
        }
        length = _header(scope, b"content-length")
        if length is not None and length.isdigit():
            env["CONTENT_LENGTH"] = length
        if (_header(scope, b"content-encoding") or "").lower() in ("gzip", "x-gzip"):
            env["HTTP_CONTENT_ENCODING"] = "gzip"
        protocol = _header(scope, b"git-protocol")
        if protocol and _PROTOCOL.match(protocol):
            env["GIT_PROTOCOL"] = protocol
        return git_environment(config.data, env)


def _checked(scope: Scope) -> tuple[str, str, str]:
    """(service, project, rest of the path). Raises for everything that is not the smart protocol."""
    path = scope["path"]
    raw = scope.get("raw_path") or path.encode()
    if b"%" in raw or ".." in path or "\0" in path:
        raise BadInput("this is no path of a repository")
    match = _PATH.match(path)
    if match is None:
        if re.match(r"/git/[^/]+\.git/(HEAD|objects/.*|info/.*|refs/.*)\Z", path):
            raise NotAllowed("only git's smart HTTP protocol is served here: update git")
        name = path.removeprefix("/git/").split("/", 1)[0].removesuffix(".git")
        raise NotFound(f"there is no repository at {path[:100]!r}: the address is /git/{name[:50] or 'PROJECT'}.git")
    rest = match["rest"]
    if rest == "info/refs":
        query = _QUERY.match(scope["query_string"].decode("latin-1"))
        if scope["method"] != "GET" or query is None:
            raise NotAllowed("only git's smart HTTP protocol is served here: update git")
        return query[1], match["project"], rest
    if scope["method"] != "POST" or scope["query_string"]:
        raise NotAllowed(f"{rest} is asked with POST")
    return rest, match["project"], rest


def _header(scope: Scope, name: bytes) -> str | None:
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else None


async def _refuse(send: Any, error: LekiwiError) -> None:
    lines = [error.message, *(f"  {command}" for command in error.next)]
    body = ("\n".join(lines) + "\n").encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if error.code == "unauthenticated":
        headers.append((b"www-authenticate", b'Basic realm="lekiwi: token as password", charset="UTF-8"'))
    # git asks again, or says "not found" without our words, for these; 403 makes it show them.
    status = 403 if error.code in ("not_found", "bad_input") else HTTP_STATUS[error.code]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve(repository: Path, env: Mapping[str, str], receive: Any, send: Any) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "http-backend", cwd=repository, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, start_new_session=True, limit=1 << 20,
        )  # fmt: skip
    except FileNotFoundError:
        await _refuse(send, Unavailable("git is not installed on the server"))
        return
    feeding = asyncio.create_task(_feed(process, receive))
    try:
        await _answer(process, send)
        async with asyncio.timeout(STUCK_S):
            await process.wait()
    except TimeoutError:
        _log.warning("git http-backend did not end; killed")
    finally:
        feeding.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, receive: Any) -> None:
    """The request's body into the program. When the client goes away before its end, the program sees a cut one and refuses it."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            if message.get("body"):
                process.stdin.write(message["body"])
                await process.stdin.drain()
            more = message.get("more_body", False)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.close()


async def _answer(process: asyncio.subprocess.Process, send: Any) -> None:
    """The program's answer to the client; read to its end even when nobody listens any more, so that a push is completed."""
    assert process.stdout is not None
    try:
        head = await process.stdout.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await _refuse(send, Failed("git on the server gave no answer", code="internal"))
        return
    status, headers = _parse_head(head)
    listening = await _told(send, {"type": "http.response.start", "status": status, "headers": headers})
    while data := await process.stdout.read(CHUNK):
        if listening:
            listening = await _told(send, {"type": "http.response.body", "body": data, "more_body": True})
    if listening:
        await _told(send, {"type": "http.response.body", "body": b""})


def _parse_head(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    status = 200
    headers: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"status":
            status = int(value.split()[0])
        elif value:
            headers.append((name.strip().lower(), value.strip()))
    return status, [*headers, (b"x-accel-buffering", b"no")]


async def _told(send: Any, message: dict[str, Any]) -> bool:
    """Whether the client could be told; a server says in its own way that it is gone."""
    try:
        await send(message)
    except (OSError, RuntimeError):
        return False
    return True
