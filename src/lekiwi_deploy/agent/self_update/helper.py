"""Running a program beside the event loop and taking what it writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from lekiwi_deploy.agent.supervisors.spawn import bury, gone, signal_group, spawn

_LONGEST = 20_000
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")


async def run(argv: Sequence[str], *, folder: Path, helpers: set[int], within_s: float) -> tuple[bool, str]:
    """Whether it exited with 0, and what it wrote, or how it ended without a word. `helpers`: the process ids that somebody waits for.
    Raises `OSError` when it cannot be started."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with TemporaryFile() as output:
        pid, pidfd = spawn(argv, folder=folder, environment=environment, output=output.fileno())
        helpers.add(pid)
        how = "took too long"
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await gone(pidfd)
                how = bury(pidfd)
        finally:
            if how == "took too long":
                signal_group(pid, signal.SIGKILL)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await gone(pidfd)
                bury(pidfd)
            helpers.discard(pid)
            os.close(pidfd)
        output.seek(0)
        text = output.read(_LONGEST).decode(errors="replace").strip()
    good = how == "exited with code 0"
    return good, text if good or text else how
