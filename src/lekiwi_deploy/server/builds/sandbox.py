"""Where a project's own commands run: behind bubblewrap's walls where it works, else in the open with a loud warning.

Inside, the project is at `/build`, nothing of the server is visible but the system's programs, and without `network` there is only the
loopback device. The kernel is shared: these are walls against mistakes and ordinary malice, not a virtual machine.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BUILD = "/build"
FILE_BYTES = 16 << 30
PROCESSES = 4_096

_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
    "localtime", "mime.types", "nsswitch.conf", "passwd", "pip.conf", "pki", "protocols", "resolv.conf", "services", "ssl", "uv",
)  # fmt: skip
_WALLS = (
    "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000", "--die-with-parent", "--new-session",
    "--cap-drop", "ALL", "--clearenv", "--hostname", "build", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Walls:
    """What this machine offers. `bwrap` None: builds run in the open, and `why` says why."""

    bwrap: str | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of this machine as it is seen inside."""

    outside: Path
    inside: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """A place to run commands in. The first bind that holds a path says what it is called inside."""

    walls: Walls
    binds: tuple[Bind, ...]
    env: Mapping[str, str]

    def inside(self, path: Path) -> str:
        """What `path` is called inside."""
        if self.walls.bwrap is not None:
            for bind in self.binds:
                if path.is_relative_to(bind.outside):
                    return str(Path(bind.inside) / path.relative_to(bind.outside))
        return str(path)

    def argv(self, command: Sequence[str], *, cwd: Path, network: bool, env: Mapping[str, str]) -> list[str]:
        """The argument list that runs `command` in `cwd` with `env` on top of the room's own variables."""
        limited = _limits()
        if self.walls.bwrap is None:
            return [*limited, *command]
        args = [self.walls.bwrap, *_WALLS, *(("--share-net",) if network else ()), *_system()]
        for bind in sorted(self.binds, key=lambda bind: bind.inside):
            args += ["--bind" if bind.writable else "--ro-bind", str(bind.outside), bind.inside]
        for name, value in {**self.env, **env}.items():
            args += ["--setenv", name, value]
        return [*limited, *args, "--chdir", self.inside(cwd), "--", *command]

    def process_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables of the process itself: bubblewrap gets none but PATH, a command in the open gets its own."""
        if self.walls.bwrap is not None:
            return {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        return {**self.env, **env}


async def find_walls() -> Walls:
    """Whether bubblewrap is there and may do its work for this user. Looked up once per process."""
    global _FOUND  # noqa: PLW0603 - a fact about the machine that does not change while we run
    if _FOUND is None:
        _FOUND = await _probe()
    return _FOUND


_FOUND: Walls | None = None


async def _probe() -> Walls:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Walls(None, "bubblewrap (bwrap) is not installed")
    process = await asyncio.create_subprocess_exec(
        bwrap, *_WALLS, *_system(), "--", "/bin/true",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    if process.returncode == 0:
        return Walls(bwrap)
    return Walls(None, " ".join(errors.decode(errors="replace").split())[:200] or "bwrap does not work here")


def _system() -> list[str]:
    args = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            args += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            args += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        args += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return args


@functools.cache
def _limits() -> tuple[str, ...]:
    """Memory (4/5 of the machine's, per process), file size, processes, no core dumps; through prlimit where it exists."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        return ()
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.8)
    return (prlimit, f"--data={memory}", f"--fsize={FILE_BYTES}", f"--nproc={PROCESSES}", "--core=0", "--")
