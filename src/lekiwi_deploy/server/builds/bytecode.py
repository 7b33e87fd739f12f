"""Byte code for the sources of a release, compiled once per source and Python minor version, cached by source.

The entries go beside the sources as `__pycache__/x.cpython-311.pyc`, so that a robot that runs this Python loads them and never compiles.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.builds.pythons import Python
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry, FileKind

TIMEOUT_S = 600.0
FORMAT = b"3"
"""Raised when the same source is to give other bytes than before."""
WORKER = Path(__file__).with_name("bytecode_worker.py")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Entries sorted by path, and where the bytes of each are."""

    entries: tuple[FileEntry, ...]
    files: dict[ObjectDigest, Path]


def pyc_path(source: str, tag: str) -> str:
    """`code/kiwi/base.py` -> `code/kiwi/__pycache__/base.cpython-311.pyc`."""
    folder, _, name = source.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc".lstrip("/")


async def compile_sources(
    python: Python, sources: Iterable[FileEntry], root: Path, prefix: str, cache: Path
) -> Compiled:
    """Byte code for those of `sources` (entries of the files below `root`, whose paths begin with `prefix`) that are Python.

    What is no valid source of this version is left out. Raises `Failed` when the compiler itself fails.
    """
    folder = cache / python.tag
    wanted: dict[str, Path] = {}
    jobs: list[tuple[str, str, str]] = []
    for entry in sources:
        if entry.kind is FileKind.SYMLINK or not entry.path.endswith(".py"):
            continue
        key = blake3(b"\0".join((FORMAT, entry.path.encode(), entry.digest.encode()))).hexdigest()
        target = folder / key[:2] / key[2:]
        wanted[entry.path] = target
        if not target.exists():
            jobs.append((str(root / entry.path.removeprefix(prefix + "/")), entry.path, str(target)))
    if jobs:
        await _work(python, jobs)
    return await asyncio.to_thread(_collect, python.tag, wanted)


def _collect(tag: str, wanted: dict[str, Path]) -> Compiled:
    entries: list[FileEntry] = []
    files: dict[ObjectDigest, Path] = {}
    for path, target in wanted.items():
        data = target.read_bytes()
        if data:
            digest = object_digest(data)
            files[digest] = target
            entries.append(FileEntry(pyc_path(path, tag), FileKind.FILE, len(data), digest))
    return Compiled(tuple(sorted(entries, key=lambda entry: entry.path)), files)


async def _work(python: Python, jobs: list[tuple[str, str, str]]) -> None:
    process = await asyncio.create_subprocess_exec(
        python.path, "-s", "-S", WORKER,
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},  # nothing else of ours
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, errors = await process.communicate("".join(json.dumps(job) + "\n" for job in jobs).encode())
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit {process.returncode}"]
        raise Failed(f"byte code for Python {python.minor} could not be made: {last[0][:300]}")
