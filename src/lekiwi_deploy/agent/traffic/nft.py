"""Running `nft`, without waiting for it in the event loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import BinaryIO

from lekiwi_deploy.errors import Failed

_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_LONGEST_S = 20.0


def find_nft() -> str | None:
    """Where the program is, if it is installed."""
    return shutil.which("nft", path=_PATH)


@dataclass(frozen=True, slots=True)
class Said:
    """What it said and whether it did what it was asked to. `pid`: how the kernel names it in its events."""

    done: bool
    output: bytes
    error: str
    pid: int

    @property
    def brief(self) -> str:
        """Its complaint in one line, without the place in the text."""
        return self.error.strip().partition("\n")[0].rpartition("Error: ")[2] or "no reason given"


class Nft:
    """`program`: its path. `helpers`: gets the process ids that are waited for here."""

    def __init__(self, program: str, helpers: set[int]) -> None:
        self._program = program
        self._helpers = helpers

    async def load(self, text: str, *, only_check: bool = False) -> Said:
        """One transaction: all of `text` is in force afterwards, or nothing. `only_check`: the kernel looks whether it could be."""
        return await self._run([*(["-c"] if only_check else []), "-f", "-"], text.encode())

    async def listing(self, *what: str) -> Said:
        """As JSON."""
        return await self._run(["-j", "list", *what], b"")

    async def _run(self, arguments: list[str], given: bytes) -> Said:
        with _memory(given) as into, _memory(b"") as output, _memory(b"") as error:
            try:
                child = subprocess.Popen(  # noqa: ASYNC220  a fork, no more: its end is awaited below
                    [self._program, *arguments], stdin=into, stdout=output, stderr=error, env={"LC_ALL": "C"}, cwd="/"
                )
            except OSError as failure:
                raise Failed(f"{self._program} cannot be run: {failure.strerror}") from failure
            self._helpers.add(child.pid)
            try:
                await _end(child)
            finally:
                self._helpers.discard(child.pid)
            return Said(child.returncode == 0, _content(output), _content(error).decode(errors="replace"), child.pid)


async def _end(child: subprocess.Popen[bytes]) -> None:
    ended = asyncio.Event()
    pidfd = os.pidfd_open(child.pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(_LONGEST_S):
            await ended.wait()
    except TimeoutError:
        raise Failed(f"nft did not end within {_LONGEST_S:g} s") from None
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        if not ended.is_set():
            child.kill()
        child.wait()


def _memory(content: bytes) -> BinaryIO:
    """A file that is nowhere: unlike a pipe it is never full, and has to be read by nobody."""
    file = os.fdopen(os.memfd_create("nft"), "w+b", buffering=0)
    file.write(content)
    file.seek(0)
    return file


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
