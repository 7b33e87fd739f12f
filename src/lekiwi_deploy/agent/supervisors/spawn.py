"""Starting a process in a session of its own, and waiting for its end without polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def spawn(
    run: Sequence[str], *, folder: Path, environment: Mapping[str, str], output: int, error: int | None = None
) -> tuple[int, int]:
    """Process id (which is also its group and session) and pidfd. `output`, `error`: file descriptors for what it writes.

    Raises `OSError` when it cannot be started.
    """
    child = subprocess.Popen(
        list(run),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if error is None else error,
        start_new_session=True,
        close_fds=True,
    )
    child.returncode = (
        0  # we wait for it ourselves, by pidfd; without this it would complain of not having been waited for
    )
    return child.pid, os.pidfd_open(child.pid)


async def gone(pidfd: int) -> None:
    """Returns when the process has ended."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def ended() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_reader(pidfd, ended)
    try:
        await done
    finally:
        loop.remove_reader(pidfd)


def bury(pidfd: int) -> str:
    """Reap an ended child; how it ended, in words. For a process that is not our child nobody can tell."""
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return "ended"
    if result is None:
        return "ended"
    if result.si_code == os.CLD_EXITED:
        return f"exited with code {result.si_status}"
    try:
        name = signal.Signals(result.si_status).name
    except ValueError:
        name = f"signal {result.si_status}"
    return f"was killed by {name}"


def signal_group(pid: int, number: int) -> None:
    """To every process of the group that `pid` leads; gone already: nothing."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
