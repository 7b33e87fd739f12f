"""Runs one command of a build: its output line by line, its time limited, everything that it started gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.builds.output import TAIL_LINES, Lines

FLUSH_S = 0.05
"""Output is handed on at most this late."""
LINGER_S = 0.5
"""How long what a command left behind may go on writing before it is killed."""
BATCH_LINES = 500
MARK = "LEKIWI_BUILD"
"""Variable by which the processes of a build are found, even those that left its process group."""

OnLines = Callable[[list[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `code`: its exit code, negative for a signal; `tail`: its last lines."""

    code: int
    timed_out: bool
    seconds: float
    tail: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it did what it was to do."""
        return self.code == 0 and not self.timed_out

    @property
    def verdict(self) -> str:
        """One phrase for a person."""
        if self.timed_out:
            return f"timed out after {self.seconds:.0f} s and was killed"
        if self.code < 0:
            return f"killed by {_signal_name(-self.code)}"
        if self.code == 127:
            return "the command was not found (exit 127)"
        return f"exit {self.code}"


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    on_lines: OnLines,
    mark: str,
    contained: bool = False,
) -> Ended:
    """Runs `argv`; stdout and stderr go to `on_lines` together. `mark` identifies the processes of this build; `contained`: all that
    the command starts ends with it (it has a process namespace of its own), so that nobody has to look for more.

    Whatever happens (end, time-out, cancellation), no process of it is left when this returns.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    process = _Process(loop, argv, cwd, {**env, MARK: mark})
    lines = Lines()
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    async def hand_on(new: list[str]) -> None:
        tail.extend(new)
        if new:
            await on_lines(new)

    timed_out = False
    relay = asyncio.create_task(_relay(process, lines, hand_on))
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await process.ended.wait()
            await asyncio.wait({relay}, timeout=LINGER_S)
        except TimeoutError:
            timed_out = True
        seconds = loop.time() - started
        await _kill(process, None if contained and not timed_out else mark)
        await asyncio.wait({relay}, timeout=LINGER_S)
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await hand_on(lines.end())
    except BaseException:
        relay.cancel()
        await asyncio.shield(_kill(process, mark))
        raise
    finally:
        process.output.close()
    return Ended(process.code, timed_out, seconds, tuple(tail))


class _Process:
    """A child with its output in one pipe. `ended` is set when the child itself ends, whoever else still holds the pipe."""

    def __init__(self, loop: asyncio.AbstractEventLoop, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.ended = asyncio.Event()
        read, write = os.pipe()
        try:
            self._child = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=write, stderr=write, start_new_session=True
            )
        except OSError as error:
            os.close(read)
            raise Failed(f"{argv[0]} cannot be started: {error.strerror}") from error
        finally:
            os.close(write)
        self.pid = self._child.pid
        self.output = os.fdopen(read, "rb", buffering=0)
        threading.Thread(target=self._watch, args=(loop,), daemon=True, name=f"build-{self.pid}").start()

    @property
    def code(self) -> int:
        """The exit code; negative for a signal."""
        return self._child.returncode or 0

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._child.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self.ended.set)


async def _relay(process: _Process, lines: Lines, hand_on: OnLines) -> None:
    reader = asyncio.StreamReader(limit=1 << 18)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(process.output.fileno()), "rb", buffering=0)
    )
    pending: list[str] = []
    reading = asyncio.ensure_future(reader.read(1 << 16))
    try:
        while True:
            done, _ = await asyncio.wait({reading}, timeout=FLUSH_S if pending else None)
            if done:
                data = reading.result()
                pending += lines.feed(data)
                if not data:
                    break
                reading = asyncio.ensure_future(reader.read(1 << 16))
                if len(pending) < BATCH_LINES:
                    continue
            batch, pending = pending, []
            await hand_on(batch)
        await hand_on(pending)
    finally:
        reading.cancel()
        transport.close()


async def _kill(process: _Process, mark: str | None) -> None:
    """Ends what is left of the process and, with `mark`, of everything that it started."""
    for attempt in range(50):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        left = await asyncio.to_thread(marked, mark) if mark is not None else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left and process.ended.is_set():
            return
        await asyncio.sleep(0.01 * (attempt + 1))


def marked(mark: str) -> list[int]:
    """Processes that were started with this mark and are not zombies; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found: list[int] = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - hundreds of entries on every command
            if not name.isdigit() or int(name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if wanted in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.append(int(name))
    return found


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
