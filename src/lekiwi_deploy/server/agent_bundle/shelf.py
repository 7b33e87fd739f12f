"""The bundles that this server has made, kept in a folder: one lock for all platforms, one archive for each platform asked for.

Nothing is fetched before somebody asks. What a bundle holds is decided by what is installed here, so after an upgrade of the server
everything is made anew; what was kept for the release before goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from importlib.metadata import distributions
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from uv import find_uv_bin

from lekiwi_deploy import __version__
from lekiwi_deploy.content.durable import write_durably
from lekiwi_deploy.errors import Failed, LekiwiError
from lekiwi_deploy.server.agent_bundle import client_commands
from lekiwi_deploy.server.agent_bundle.archive import Member, archive
from lekiwi_deploy.server.agent_bundle.bundle_platforms import bundle_platform
from lekiwi_deploy.server.agent_bundle.own_wheel import DISTRIBUTION, FILE_NAME, own_wheel, requirements
from lekiwi_deploy.server.builds.run import run
from lekiwi_deploy.wire.api import AgentBundle, AgentRelease
from lekiwi_deploy.wire.platforms import Platform

FORMAT = "1"
"""Raised when the same installation is to give another bundle than before."""
TIMEOUT_S = 600.0
_LOCK = "lock.txt"
_NEXT = ("let the server reach a package index: UV_DEFAULT_INDEX and PIP_INDEX_URL name another one than the usual",)
REMEMBERED = timedelta(seconds=30)
"""How long a failure is told again without trying again."""
T = TypeVar("T")


class AgentBundles:
    """Bundles in `folder`, which may be deleted at any time."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        self._busy = asyncio.Lock()
        self._release: AgentRelease | None = None
        self._bundles: dict[str, AgentBundle] = {}
        self._failed: dict[str, tuple[datetime, LekiwiError]] = {}
        self._wheel = self._installer = b""
        self._constraints = ""

    async def release(self) -> AgentRelease:
        """What this server gives to robots. Raises `Failed` when the agent's dependencies cannot be had."""
        async with self._busy:
            return await self._known_release()

    async def bundle(self, key: str) -> tuple[AgentBundle, Path]:
        """The bundle for robots of platform `key`, and the file that holds it. Raises `BadInput`, `NotFound` for platforms that
        have none, `Failed` when a dependency has no wheel for it or cannot be fetched."""
        platform = bundle_platform(key)
        async with self._busy:
            release = await self._known_release()
            path = self._home(release) / f"{platform.key}.zip"
            known = self._bundles.get(platform.key)
            if known is None or not path.exists():
                known = await self._remembering(platform.key, self._make_bundle(release, platform, path))
                self._bundles[platform.key] = known
            return known, path

    async def _known_release(self) -> AgentRelease:
        if self._release is None or not (self._home(self._release) / _LOCK).exists():
            self._release = await self._remembering("", self._make_release())
        return self._release

    async def _remembering(self, name: str, made: Coroutine[None, None, T]) -> T:
        """`made`, unless it failed a moment ago: many robots that ask at once must not make the package index hear of each."""
        since, error = self._failed.get(name, (None, None))
        if since is not None and error is not None and self._now() - since < REMEMBERED:
            made.close()
            raise error
        try:
            return await made
        except LekiwiError as again:
            self._failed[name] = (self._now(), again)
            raise

    def _home(self, release: AgentRelease) -> Path:
        return self._folder / release.release

    async def _make_release(self) -> AgentRelease:
        wheel = await asyncio.to_thread(own_wheel)
        installed = await asyncio.to_thread(_installed)
        installer = files("lekiwi_deploy.agent").joinpath("install", "unpack.py").read_bytes()
        key = _digest(FORMAT.encode(), wheel, installed.encode(), installer)
        named = self._folder / f"{key[:16]}.lock"
        lock = named.read_bytes() if named.exists() else b""
        if not lock:
            own = ((_digest(wheel), FILE_NAME), (_digest(installer), "__main__.py"))
            lock = client_commands.lock_text(await self._compiled(installed, None), own).encode()
        pin = _digest(lock)
        release = AgentRelease(release=f"{__version__}-{pin[:8]}", version=__version__, lock=pin)
        await asyncio.to_thread(self._keep_only, release, named, lock)
        self._wheel, self._installer, self._constraints = wheel, installer, installed
        return release

    def _keep_only(self, release: AgentRelease, named: Path, lock: bytes) -> None:
        home = self._home(release)
        home.mkdir(parents=True, exist_ok=True)
        for other in self._folder.iterdir():
            if other not in (home, named):
                shutil.rmtree(
                    other
                ) if other.is_dir() and other.name != "uv" else other.unlink() if other.is_file() else None
        write_durably(home / _LOCK, lock)
        write_durably(named, lock)

    async def _make_bundle(self, release: AgentRelease, platform: Platform, path: Path) -> AgentBundle:
        if not path.exists():
            wheels = await self._download(platform)
            lock = (self._home(release) / _LOCK).read_bytes()
            await asyncio.to_thread(_check_listed, wheels, lock.decode())
            members = [Member("__main__.py", self._installer), Member(_LOCK, lock), *wheels]
            write_durably(path, await asyncio.to_thread(archive, members, compressed=False))
        data = await asyncio.to_thread(path.read_bytes)
        return AgentBundle(release=release.release, platform=platform.key, digest=_digest(data), size=len(data))

    async def _download(self, platform: Platform) -> list[Member]:
        """The wheels of a bundle, ours among them, by name."""
        compiled = await self._compiled(self._constraints, platform)
        with TemporaryDirectory(dir=self._folder, prefix="tmp-") as scratch:
            pins, target = Path(scratch, "pins.txt"), Path(scratch, "wheels")
            pins.write_text(compiled)
            target.mkdir()
            await self._ask(client_commands.download_command(_pip(), str(pins), str(target), platform), platform)
            found = [Member(f"wheels/{path.name}", path.read_bytes()) for path in target.iterdir()]
        return sorted([*found, Member(f"wheels/{FILE_NAME}", self._wheel)], key=lambda member: member.name)

    async def _compiled(self, installed: str, platform: Platform | None) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._folder, prefix="tmp-") as scratch:
            inputs, constraints, output = (Path(scratch, name) for name in ("in.txt", "constraints.txt", "out.txt"))
            inputs.write_text("".join(f"{line}\n" for line in requirements()))
            constraints.write_text(installed)
            python = platform.python if platform else None
            await self._ask(
                client_commands.compile_command(
                    find_uv_bin(), str(inputs), str(constraints), str(output), python=python
                ),
                platform,
            )
            return output.read_text()

    async def _ask(self, command: Sequence[str], platform: Platform | None) -> None:
        said: list[str] = []

        async def listen(lines: list[str]) -> None:
            said.extend(lines)

        env = {"UV_CACHE_DIR": str(self._folder / "uv"), **os.environ, "NO_COLOR": "1"}
        ended = await run(
            command, cwd=self._folder, env=env, timeout_s=TIMEOUT_S, on_lines=listen, mark=f"agent-{os.getpid()}"
        )
        if not ended.ok:
            raise Failed(client_commands.explained("\n".join(said) or ended.verdict, platform), next=_NEXT)


def _installed() -> str:
    """The versions of everything in this server's environment but itself."""
    found = ((known.metadata["Name"], known.version) for known in distributions())
    return client_commands.constraints((name, version) for name, version in found if name and name != DISTRIBUTION)


def _pip() -> tuple[str, ...]:
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    return (find_uv_bin(), "tool", "run", "--quiet", "--from", "pip", "pip")


def _check_listed(wheels: Sequence[Member], lock: str) -> None:
    listed = {line.partition("  ")[0] for line in lock.splitlines()}
    strangers = [member.name for member in wheels if _digest(member.data) not in listed]
    if strangers:
        raise Failed(
            f"the package index changed what it serves: {strangers[0]} is not among the files that were there before"
        )


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
