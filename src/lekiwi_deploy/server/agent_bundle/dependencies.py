"""The packages that the agent depends on, at the versions that this server runs: fetched once, kept in a folder.

What is kept depends on those versions alone, so another release of LeKiwi Deploy with the same dependencies needs no package index.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from uv import find_uv_bin

from lekiwi_deploy.content.durable import write_durably
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.agent_bundle import client_commands
from lekiwi_deploy.server.agent_bundle.archive import Member
from lekiwi_deploy.server.agent_bundle.own_wheel import DISTRIBUTION, requirements
from lekiwi_deploy.server.builds.run import run
from lekiwi_deploy.wire.platforms import Platform

FORMAT = "1"
"""Raised when the same versions are to give other files than before."""
TIMEOUT_S = 600.0
_NEXT = ("let the server reach a package index: UV_DEFAULT_INDEX and PIP_INDEX_URL name another one than the usual",)


class Dependencies:
    """Those of `installed`, a line `name==version` for each distribution; in `folder`, which may be deleted at any time."""

    def __init__(self, folder: Path, needed: Sequence[str], installed: str) -> None:
        key = hashlib.sha256("\0".join((FORMAT, *needed, installed)).encode()).hexdigest()[:16]
        self._needed = needed
        self._installed = installed
        self._cache = folder / "uv"
        self.home = folder / f"packages-{key}"

    @classmethod
    def of_this_server(cls, folder: Path) -> Dependencies:
        """At the versions that this process runs with. Raises `Failed` when it runs without being installed."""
        found = ((known.metadata["Name"], known.version) for known in distributions())
        return cls(
            folder,
            requirements(),
            client_commands.constraints((name, version) for name, version in found if name and name != DISTRIBUTION),
        )

    async def compiled(self) -> str:
        """Every file of every version that is needed on some platform, with its digest, as the package client writes it."""
        kept = self.home / "all.txt"
        if not kept.exists():
            write_durably(kept, (await self._compile(None)).encode())
        return kept.read_text()

    async def wheels(self, platform: Platform) -> list[Member]:
        """The wheels for `platform`, by name. Raises `Failed` naming one that there is none of."""
        kept = self.home / platform.key
        if not kept.exists():
            pinned = await self._compile(platform)
            with TemporaryDirectory(dir=self.home, prefix="tmp-") as scratch:
                pins, target = Path(scratch, "pins.txt"), Path(scratch, "wheels")
                pins.write_text(pinned)
                target.mkdir()
                await self._ask(client_commands.download_command(_pip(), str(pins), str(target), platform), platform)
                target.rename(kept)
        return await asyncio.to_thread(_read, kept)

    async def _compile(self, platform: Platform | None) -> str:
        self.home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.home, prefix="tmp-") as scratch:
            inputs, constraints, output = (Path(scratch, name) for name in ("in.txt", "constraints.txt", "out.txt"))
            inputs.write_text("".join(f"{line}\n" for line in self._needed))
            constraints.write_text(self._installed)
            await self._ask(
                client_commands.compile_command(
                    find_uv_bin(), str(inputs), str(constraints), str(output), platform=platform
                ),
                platform,
            )
            return output.read_text()

    async def _ask(self, command: Sequence[str], platform: Platform | None) -> None:
        said: list[str] = []

        async def listen(lines: list[str]) -> None:
            said.extend(lines)

        env = {"UV_CACHE_DIR": str(self._cache), **os.environ, "NO_COLOR": "1"}
        ended = await run(
            command, cwd=self.home, env=env, timeout_s=TIMEOUT_S, on_lines=listen, mark=f"agent-{os.getpid()}"
        )
        if not ended.ok:
            raise Failed(client_commands.explained("\n".join(said) or ended.verdict, platform), next=_NEXT)


def forget_others(folder: Path, keep: set[Path]) -> None:
    """Remove what earlier versions left in `folder`."""
    for other in folder.iterdir() if folder.is_dir() else ():
        if other not in keep and other.name != "uv":
            shutil.rmtree(other) if other.is_dir() else other.unlink()


def _read(folder: Path) -> list[Member]:
    return [Member(f"wheels/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]


def _pip() -> tuple[str, ...]:
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    return (find_uv_bin(), "tool", "run", "--quiet", "--from", "pip", "pip")
