"""The bundles that this server gives to robots: one lock for all platforms, one archive for each platform asked for.

Nothing is fetched before somebody asks. What a bundle holds is decided by what is installed here, so after an upgrade of the server
everything is made anew; what was kept for the release before goes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from lekiwi_deploy import __version__
from lekiwi_deploy.content.durable import write_durably
from lekiwi_deploy.errors import Failed, LekiwiError
from lekiwi_deploy.server.agent_bundle import client_commands
from lekiwi_deploy.server.agent_bundle.archive import Member, archive
from lekiwi_deploy.server.agent_bundle.bundle_platforms import bundle_platform
from lekiwi_deploy.server.agent_bundle.dependencies import Dependencies, forget_others
from lekiwi_deploy.server.agent_bundle.own_wheel import FILE_NAME, own_wheel
from lekiwi_deploy.wire.agents import AgentBundle, AgentRelease
from lekiwi_deploy.wire.platforms import Platform

REMEMBERED = timedelta(seconds=30)
"""How long a failure is told again without trying again."""
LOCK = "lock.txt"
INSTALLER = "__main__.py"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Made:
    """What every bundle of a release has in it."""

    release: AgentRelease
    lock: bytes
    wheel: bytes
    installer: bytes
    dependencies: Dependencies


class AgentBundles:
    """Bundles in `folder`, which may be deleted at any time. `dependencies`: what the agent needs, given the folder to keep it in."""

    def __init__(
        self,
        folder: Path,
        now: Callable[[], datetime],
        *,
        dependencies: Callable[[Path], Dependencies] = Dependencies.of_this_server,
    ) -> None:
        self._folder = folder
        self._now = now
        self._dependencies = dependencies
        self._busy = asyncio.Lock()
        self._made: _Made | None = None
        self._bundles: dict[str, AgentBundle] = {}
        self._failed: dict[str, tuple[datetime, LekiwiError]] = {}

    @property
    def known(self) -> AgentRelease | None:
        """What this server gives to robots, if that was asked for since it started."""
        return self._made.release if self._made is not None else None

    async def release(self) -> AgentRelease:
        """What this server gives to robots. Raises `Failed` when the agent's dependencies cannot be had."""
        async with self._busy:
            return (await self._current()).release

    async def bundle(self, key: str) -> tuple[AgentBundle, Path]:
        """The bundle for robots of platform `key`, and the file that holds it. Raises `BadInput`, `NotFound` for platforms that
        have none, `Failed` when a dependency has no wheel for it or cannot be fetched."""
        platform = bundle_platform(key)
        async with self._busy:
            made = await self._current()
            path = self._folder / made.release.release / f"{platform.key}.zip"
            known = self._bundles.get(platform.key)
            if known is None or not path.exists():
                known = await self._remembering(platform.key, _bundle(made, platform, path))
                self._bundles[platform.key] = known
            return known, path

    async def _current(self) -> _Made:
        if self._made is None:
            self._made = await self._remembering("", self._make())
        return self._made

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

    async def _make(self) -> _Made:
        dependencies = await asyncio.to_thread(self._dependencies, self._folder)
        compiled = await dependencies.compiled()
        wheel = await asyncio.to_thread(own_wheel)
        installer = files("lekiwi_deploy.agent").joinpath("install", "unpack.py").read_bytes()
        own = ((_digest(wheel), FILE_NAME), (_digest(installer), INSTALLER))
        lock = client_commands.lock_text(compiled, own).encode()
        pin = _digest(lock)
        release = AgentRelease(release=f"{__version__}-{pin[:8]}", version=__version__, lock=pin)
        await asyncio.to_thread(forget_others, self._folder, {dependencies.home, self._folder / release.release})
        return _Made(release, lock, wheel, installer, dependencies)


async def _bundle(made: _Made, platform: Platform, path: Path) -> AgentBundle:
    if not path.exists():
        wheels = [*await made.dependencies.wheels(platform), Member(f"wheels/{FILE_NAME}", made.wheel)]
        _check_listed(wheels, made.lock.decode())
        members = [Member(INSTALLER, made.installer), Member(LOCK, made.lock), *sorted(wheels, key=lambda m: m.name)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, await asyncio.to_thread(archive, members, compressed=False))
    data = await asyncio.to_thread(path.read_bytes)
    return AgentBundle(release=made.release.release, platform=platform.key, digest=_digest(data), size=len(data))


def _check_listed(wheels: Sequence[Member], lock: str) -> None:
    listed = {line.partition("  ")[0] for line in lock.splitlines()}
    strangers = [member.name for member in wheels if _digest(member.data) not in listed]
    if strangers:
        raise Failed(
            f"{strangers[0].removeprefix('wheels/')} is not among the files that the package index listed: it changed what it serves, or "
            "it is no index that tells the digests of its files (a plain folder does not)"
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
