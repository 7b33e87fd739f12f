"""A real server for git: uvicorn with the git bridge and the hooks, the loops that belong to them, and a git client for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server import conductor
from lekiwi_deploy.server.auth import new_token, token_digest
from lekiwi_deploy.server.builds import builder
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git import reconciler
from lekiwi_deploy.server.git.bridge import GitBridge
from lekiwi_deploy.server.git.hooks import HookEndpoint
from lekiwi_deploy.server.http.errors import send_error
from lekiwi_deploy.server.http.protocol import BoundedHttp
from lekiwi_deploy.server.store import tokens
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.api import Role, TokenInfo


@dataclass(frozen=True)
class Pushed:
    """What a git command came to: exit code and everything it wrote."""

    code: int
    text: str

    @property
    def remote(self) -> list[str]:
        """What the server said, without `remote: ` and git's padding."""
        return [line.removeprefix("remote: ").rstrip() for line in self.text.splitlines() if line.startswith("remote:")]


@dataclass
class GitServer:
    """A server under test."""

    context: Context
    url: str
    owner: str
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def token(self, name: str, role: Role) -> tuple[str, str]:
        """(id, secret) of a new token."""
        secret = new_token("pat", self.context.random)
        info = TokenInfo(id=f"tok_{secret[-8:]}", name=name, role=role, created_at=self.context.now(), expires_at=None)
        async with self.context.database.transaction() as tx:
            await tokens.insert(tx, info, token_digest(secret))
        return info.id, secret

    def address(self, project: str, token: str | None = None) -> str:
        """The address of a project's repository, with the token as password."""
        return self.url.replace("://", f"://x:{token or self.owner}@") + f"/git/{project}.git"

    async def deployments(self, project: str) -> list[DeploymentRow]:
        """All deployments of a project, oldest first."""
        async with self.context.database.transaction() as tx:
            return await tx.rows(
                "SELECT * FROM deployments WHERE project = %s ORDER BY created_at", (project,), DeploymentRow
            )


class Repository:
    """A developer's clone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    async def git(self, *arguments: str, code: int | None = 0, timeout: float = 60) -> Pushed:
        """Runs git; checks the exit code unless `code` is None."""
        process = await self.start(*arguments)
        async with asyncio.timeout(timeout):
            out, _ = await process.communicate()
        assert process.returncode is not None
        done = Pushed(process.returncode, out.decode(errors="replace"))
        assert code is None or done.code == code, done.text
        return done

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Starts git."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
            "GIT_ASKPASS": "true",
            "NO_PROXY": "*",
        }
        return await asyncio.create_subprocess_exec(
            "git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "commit.gpgsign=false",
            "-c", "init.defaultBranch=main", "-c", "gc.auto=0", *arguments,
            cwd=self.path, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    async def commit(self, files: dict[str, str | bytes], message: str = "change") -> str:
        """Writes files (name ending in `*`: executable), commits, and gives the commit."""
        if not (self.path / ".git").exists():
            await self.git("init", "-q")
        for name, content in files.items():
            path = self.path / name.rstrip("*")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(0o755 if name.endswith("*") else 0o644)
        await self.git("add", "-A")
        await self.git("commit", "-q", "--allow-empty", "-m", message)
        return (await self.git("rev-parse", "HEAD")).text.strip()


async def _dispatch(context: Context):  # type: ignore[no-untyped-def]
    bridge, hooks = GitBridge(context), HookEndpoint(context)

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        try:
            await (bridge if scope["path"].startswith("/git/") else hooks)(scope, receive, send)
        except LekiwiError as error:
            await send_error(send, error)

    return app


@contextlib.asynccontextmanager
async def serving(context: Context) -> AsyncIterator[GitServer]:
    """Serves on a port of its own until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    context = replace(context, config=replace(context.config, url=url, local_url=url))
    server = uvicorn.Server(
        uvicorn.Config(
            await _dispatch(context), http=BoundedHttp, log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]
    tasks = [asyncio.create_task(server.serve(sockets=[listener]))]
    tasks += [asyncio.create_task(run(context)) for run in (builder.run, reconciler.run, conductor.run)]
    made = GitServer(context, url, "", tasks)
    try:
        _, made.owner = await made.token("owner", Role.OWNER)
        yield made
    finally:
        server.should_exit = True
        await asyncio.wait({tasks[0]}, timeout=5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
