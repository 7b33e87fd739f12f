"""Which Pythons this machine has, by minor version: for byte-compiling and for running tests."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.wire.platforms import Platform

_ASK = (
    "import json,sys;print(json.dumps(['%d.%d'%sys.version_info[:2],sys.base_prefix,sys.implementation.name,"
    "sys.implementation.cache_tag]))"
)


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter. `prefix`: the folder that holds it and its standard library; `tag`: `cpython-311`."""

    path: Path
    minor: str
    prefix: Path
    tag: str


def own_platform() -> Platform:
    """The platform of this machine and of the Python that the server runs on."""
    libc, version = platform.libc_ver()
    return Platform(
        system=sys.platform if sys.platform != "darwin" else "macos",
        arch=platform.machine(),
        libc=libc or "musl",
        libc_version=version,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


async def find_python(minor: str) -> Python | None:
    """A working CPython of this minor version ("3.11"), or None. Looked up once per process and version."""
    if minor not in _KNOWN:
        _KNOWN[minor] = await _find(minor)
    return _KNOWN[minor]


_KNOWN: dict[str, Python | None] = {}


async def _find(minor: str) -> Python | None:
    seen: set[Path] = set()
    for candidate in _candidates(minor):
        real = Path(os.path.realpath(candidate))
        if real in seen or not os.access(real, os.X_OK):
            continue
        seen.add(real)
        found = await _ask(real)
        if found is not None and found.minor == minor:
            return found
    return None


def _candidates(minor: str) -> Iterator[Path]:
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield Path(sys.executable)
    name = f"python{minor}"
    for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"):
        yield Path(folder, name)
    home = Path.home()
    yield from sorted(home.glob(f".pyenv/versions/{minor}.*/bin/{name}"), reverse=True)
    yield from sorted(home.glob(f".local/share/uv/python/cpython-{minor}.*/bin/{name}"), reverse=True)
    on_path = shutil.which(name)
    if on_path is not None:
        yield Path(on_path)


async def _ask(path: Path) -> Python | None:
    try:
        process = await asyncio.create_subprocess_exec(
            path, "-I", "-S", "-c", _ASK,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 10)
        minor, prefix, implementation, tag = json.loads(out)
    except (OSError, ValueError, TimeoutError):
        return None
    return Python(path, minor, Path(prefix), tag) if implementation == "cpython" else None
