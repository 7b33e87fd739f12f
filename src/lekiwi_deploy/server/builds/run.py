"""Runs one command of a build: its output line by line, its time limited, everything that it started gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.server.builds.output import Lines

FLUSH_S = 0.05
"""Output is handed on at most this late."""
LINGER_S = 0.5
"""How long what a command left behind may go on writing before it is killed."""
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
    clock = asyncio.get_running_loop().time
    started = clock()
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={**env, MARK: mark},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=1 << 20,
    )
    lines = Lines()
    tail: list[str] = []

    async def hand_on(new: list[str]) -> None:
        tail.extend(new)
        del tail[: -200 if len(tail) > 200 else 0]
        if new:
            await on_lines(new)

    timed_out = False
    reader = asyncio.create_task(_relay(process, lines, hand_on))
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        timed_out = True
    except BaseException:
        reader.cancel()
        raise
    finally:
        if not timed_out and not reader.cancelled():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await asyncio.shield(reader)
        await _kill(process, None if contained and not timed_out else mark)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await reader
    await hand_on(lines.end())
    return Ended(process.returncode or 0, timed_out, clock() - started, tuple(tail))


async def _relay(process: asyncio.subprocess.Process, lines: Lines, hand_on: OnLines) -> None:
    assert process.stdout is not None
    pending: list[str] = []
    reading = asyncio.ensure_future(process.stdout.read(1 << 16))
    try:
        while True:
            done, _ = await asyncio.wait({reading}, timeout=FLUSH_S if pending else None)
            if done:
                data = reading.result()
                pending += lines.feed(data)
                if not data:
                    break
                reading = asyncio.ensure_future(process.stdout.read(1 << 16))
                if len(pending) < 500:
                    continue
            batch, pending = pending, []
            await hand_on(batch)
        await hand_on(pending)
    finally:
        reading.cancel()


async def _kill(process: asyncio.subprocess.Process, mark: str | None) -> None:
    for attempt in range(50):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        left = await asyncio.to_thread(marked, mark) if mark is not None else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left and process.returncode is not None:
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
