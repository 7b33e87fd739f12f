"""Ending an instance, holding it still and letting it go on: one order after the other, until systemd says that it is so."""

from __future__ import annotations

import asyncio
import signal

from lekiwi_deploy.agent.supervisors.systemd.bus import Declined
from lekiwi_deploy.agent.supervisors.systemd.manager import Manager
from lekiwi_deploy.agent.supervisors.systemd.state import Instance

_KILL_S = 5.0
"""How long a killed process may take to vanish before it is looked at again."""


async def end(manager: Manager, known: Instance, grace_s: float) -> bool:
    """SIGTERM to all its processes, SIGKILL after `grace_s`; returns when its control group is empty: whether it had to be killed.
    Raises `Declined`, `Unavailable`; then ask again."""
    if not known.unit:
        return False
    if known.seen.paused:
        await let_go_on(manager, known)
    if grace_s > known.record.grace_s:  # systemd would not wait as long
        await manager.kill(known.unit, signal.SIGTERM)
        await _gone(known, grace_s)
    if not known.alive:
        known.facts = await manager.facts(known.unit)
    await manager.stop(known.unit)
    killed = False
    if not await _gone(known, min(grace_s, known.record.grace_s)):
        while True:
            known.facts = await manager.facts(known.unit)
            if _is_gone(known):
                break
            killed = True
            await manager.kill(known.unit, signal.SIGKILL)
            await _gone(known, _KILL_S)
    if known.facts.active == "failed":
        await manager.reset_failed(known.unit)
    return killed or known.facts.result == "timeout"


async def hold_still(manager: Manager, known: Instance) -> None:
    """No processor for any of its processes. Raises `Declined`, `Unavailable`."""
    try:
        await manager.freeze(known.unit)
    except Declined:  # no freezer in this kernel, or it is not ready yet
        await manager.kill(known.unit, signal.SIGSTOP)
        known.stopped_by_signal = True


async def let_go_on(manager: Manager, known: Instance) -> None:
    """The other way round."""
    if known.stopped_by_signal:
        await manager.kill(known.unit, signal.SIGCONT)
        known.stopped_by_signal = False
    else:
        await manager.thaw(known.unit)


def _is_gone(known: Instance) -> bool:
    return known.facts.over and not known.facts.waits


async def _gone(known: Instance, within_s: float) -> bool:
    """Whether all of it was gone within so many seconds."""
    try:
        async with asyncio.timeout(within_s):
            while not _is_gone(known):
                known.news.clear()
                await known.news.wait()
    except TimeoutError:
        return False
    return True
