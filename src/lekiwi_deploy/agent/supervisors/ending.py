"""Everything that an instance started, signalled or ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection

from lekiwi_deploy.agent.supervisors import families
from lekiwi_deploy.agent.supervisors.running import Running
from lekiwi_deploy.agent.supervisors.spawn import gone, signal_group

KILL_S = 5.0
"""How long a killed process may take to vanish before we go on without it (it hangs in the kernel)."""


def signal_all(running: Running, number: int, known: Collection[int]) -> None:
    """To its group and to what left it. `known`: children of the agent that are no orphans."""
    pid = running.seen.pid
    assert pid is not None
    signal_group(pid, number)
    orphans = families.everyone() if running.adopted else families.children().difference(known)
    for one in families.members(families.descendants(pid).union(orphans), pid, running.family):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, number)


async def finish_off(running: Running, known: Callable[[], set[int]], others: Callable[[], set[int]]) -> None:
    """End what it left behind: orphans come to us, unless an earlier agent started it. `others`: processes of other instances."""
    pid = running.seen.pid
    if pid is None:
        return
    for _ in range(8):  # what is being killed may fork once more
        pool = None if running.adopted else families.children().difference(known())
        if not pool and not running.adopted:
            return
        left = set(families.members(pool, pid, running.family)) - others()
        if not left:
            return
        await wait_all(families.kill(left))
        families.reap(known())


async def wait_all(pidfds: list[int]) -> None:
    """Returns when all these are gone, or `KILL_S` later."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_S):
                for fd in pidfds:
                    await gone(fd)
    finally:
        for fd in pidfds:
            os.close(fd)
