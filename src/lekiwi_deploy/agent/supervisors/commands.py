"""Running a command to its end: a health check, a hook."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from lekiwi_deploy.agent.log_lines import Hide, as_it_is
from lekiwi_deploy.agent.supervisors.spawn import bury, gone, signal_group, spawn

_TAIL = 8000
_LINES = 20
_WIDEST = 500


async def run_command(
    run: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    helpers: set[int],
    hide: Hide = as_it_is,
) -> tuple[str | None, tuple[str, ...]]:
    """What was wrong in one line (None: it exited with 0), and its last output lines. Its whole process group is gone on return.
    `helpers`: the process ids that somebody waits for (a reaper of orphans leaves them alone); `hide`: what may be shown of a line."""
    what = " ".join(run)[:80]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    output = _Output(reader, hide)
    try:
        try:
            pid, pidfd = spawn(run, folder=folder, environment=environment, output=writer)
        except (OSError, ValueError) as error:
            return f"{what}: {error.strerror if isinstance(error, OSError) else error}", ()
        finally:
            os.close(writer)
        helpers.add(pid)
        output.follow()
        try:
            async with asyncio.timeout(timeout_s):
                await gone(pidfd)
            signal_group(pid, signal.SIGKILL)
            how = bury(pidfd)
        except TimeoutError:
            return f"{what} took longer than {timeout_s:g} s", output.lines()
        finally:
            signal_group(pid, signal.SIGKILL)
            if pid in helpers:
                await _bury_late(pid, pidfd, helpers)
        lines = output.lines()
        if how == "exited with code 0":
            return None, lines
        return f"{what} {how}" + (f": {lines[-1][:200]}" if lines else ""), lines
    finally:
        output.close()


class _Output:
    """The end of what comes out of a pipe, read as it comes so that the writer never waits."""

    def __init__(self, reader: int, hide: Hide) -> None:
        self._reader = reader
        self._hide = hide
        self._data = b""
        self._following = False

    def follow(self) -> None:
        self._following = True
        asyncio.get_running_loop().add_reader(self._reader, self._read)

    def lines(self) -> tuple[str, ...]:
        self._read()
        cut = len(self._data) == _TAIL
        lines = self._data.decode(errors="replace").strip().splitlines()
        plain = ["".join(one if one.isprintable() else " " for one in line) for line in lines]
        hidden = [self._hide(line, cut and number == 0, False) for number, line in enumerate(plain)]
        return tuple(line[:_WIDEST] for line in hidden[-_LINES:])

    def close(self) -> None:
        self._stop()
        os.close(self._reader)

    def _stop(self) -> None:
        if self._following:
            self._following = False
            asyncio.get_running_loop().remove_reader(self._reader)

    def _read(self) -> None:
        try:
            while chunk := os.read(self._reader, 65536):
                self._data = (self._data + chunk)[-_TAIL:]
                if len(chunk) < 65536:
                    return
            self._stop()
        except BlockingIOError:
            pass


async def _bury_late(pid: int, pidfd: int, helpers: set[int]) -> None:
    try:
        async with asyncio.timeout(1.0):
            await gone(pidfd)
        bury(pidfd)
    except TimeoutError:
        pass
    finally:
        helpers.discard(pid)
        os.close(pidfd)
