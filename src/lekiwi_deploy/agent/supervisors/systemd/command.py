"""Running one command as an instance would be run: a unit of its own, with the same walls, that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from pathlib import Path

from lekiwi_deploy.agent.log_lines import Hide, LineSplitter
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts, ending, updated
from lekiwi_deploy.agent.supervisors.systemd.files import UnitFiles
from lekiwi_deploy.agent.supervisors.systemd.ground import look
from lekiwi_deploy.agent.supervisors.systemd.manager import Manager, Properties
from lekiwi_deploy.agent.supervisors.systemd.unit import Unit, command_unit
from lekiwi_deploy.errors import LekiwiError

KEPT_LINES = 50
_CHUNK = 64 << 10
_LATE_S = 15.0
"""systemd ends a command in time; when it does not, it is not waited for longer than this."""


class Commands:
    """One at a time of each."""

    def __init__(self, paths: Paths, files: UnitFiles, manager: Manager) -> None:
        self._paths = paths
        self._files = files
        self._manager = manager
        self._turns: dict[str, asyncio.Lock] = {}

    async def run(
        self, launch: Launch, command: tuple[str, ...], timeout_s: float
    ) -> tuple[str | None, tuple[str, ...]]:
        """What was wrong in one line (None: it exited with 0), and its last output lines."""
        try:
            unit = command_unit(launch, look(launch, command[0], self._paths, self._files.places), command, timeout_s)
            async with self._turns.setdefault(unit.name, asyncio.Lock()):
                return await self._run(unit, launch, command[0], timeout_s)
        except (LekiwiError, OSError) as error:
            return f"{command[0]}: {error}", ()

    async def _run(
        self, unit: Unit, launch: Launch, program: str, timeout_s: float
    ) -> tuple[str | None, tuple[str, ...]]:
        self._files.write(unit)
        if launch.lock is not None:
            self._files.make_lock(launch.lock)
        output = _Output(self._files.places.pipes / unit.name, launch.hide)
        over: asyncio.Future[Facts] = asyncio.get_running_loop().create_future()
        facts = Facts()
        begun = False

        def changed(properties: Properties) -> None:
            nonlocal facts
            facts = updated(facts, properties)
            if begun and facts.over and not over.done():
                over.set_result(facts)

        self._manager.watch(unit.name, changed)
        try:
            await self._manager.start(unit.name)
            begun = True
            async with asyncio.timeout(timeout_s + _LATE_S):
                end = await over
            output.drain()
            if end.active == "failed":
                await self._manager.reset_failed(unit.name)
            return _wrong(end, program, timeout_s), output.lines()
        except TimeoutError:
            await self._manager.kill(unit.name, 9)
            return (
                f"{program} did not end within {timeout_s + _LATE_S:g} s, although it was to be killed",
                output.lines(),
            )
        except asyncio.CancelledError:
            with contextlib.suppress(LekiwiError):
                await asyncio.shield(self._manager.stop(unit.name))
            raise
        finally:
            self._manager.unwatch(unit.name)
            output.close()
            self._files.remove(unit.name)


class _Output:
    """The reading end of a named pipe, whose last lines are kept."""

    def __init__(self, path: Path, hide: Hide) -> None:
        self._path = path
        self._splitter = LineSplitter(hide)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # Held open by us as well, so that there is no end of file before there was a writer.
        self._other = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def drain(self) -> None:
        """Read what is left."""
        while self._read():
            pass

    def lines(self) -> tuple[str, ...]:
        """The last ones, oldest first."""
        return (*self._lines, *self._splitter.flush())[-KEPT_LINES:]

    def close(self) -> None:
        """No more is read."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        os.close(self._other)
        self._path.unlink(missing_ok=True)

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        self._lines.extend(self._splitter.feed(data))
        return bool(data)


def _wrong(facts: Facts, name: str, timeout_s: float) -> str | None:
    if facts.result == "success" and facts.active != "failed":
        return None
    if facts.result == "timeout":
        return f"{name} took longer than {timeout_s:g} s and was killed"
    return f"{name} {ending(facts, None)}"
