"""Following progress: a deployment's stream, chained into its rollout's, up to the final entry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.nudges import Subscription
from lekiwi_deploy.server.store import progress
from lekiwi_deploy.wire.progress import Closed, Progress, RolloutFinished, RolloutStarted

_PAGE = 500
RECHECK_S = 10.0
"""How often a silent stream is read without a hint."""


async def follow(context: Context, stream: str, after: int = 0, follow: bool = True) -> AsyncIterator[Progress]:
    """The entries of `stream` (`dep_…` or `rol_…`) with a number above `after`, then, with `follow`, those to come.

    A deployment's stream goes on in the newest rollout that it names, from its beginning. Ends after the final entry, when the server
    stops, or, without `follow`, with what is there.
    """
    async for entry in entries(context, stream, after, follow):
        if entry is not None:
            yield entry


async def entries(context: Context, stream: str, after: int, follow: bool) -> AsyncIterator[Progress | None]:
    """As `follow`, with a None for each `RECHECK_S` of silence."""
    rollout: str | None = None
    with context.nudges.subscribe("progress", stream) as hints:
        while True:
            final = False
            for entry in await _stored(context, stream, after):
                yield entry
                after = entry.seq
                final = isinstance(entry.body, Closed | RolloutFinished)
                rollout = entry.body.rollout if isinstance(entry.body, RolloutStarted) else rollout
            if rollout is not None or final or not follow:
                break
            heard = await hint_or_stop(context, hints, RECHECK_S)
            if heard is None:
                return
            if not heard:
                yield None
    if rollout is not None and rollout != stream:
        async for entry_or_none in entries(context, rollout, 0, follow):
            yield entry_or_none


async def _stored(context: Context, stream: str, after: int) -> list[Progress]:
    """What is stored after `after`, without ends and rollouts that others followed."""
    found: list[Progress] = []
    async with context.database.transaction() as tx:
        while page := await progress.read(tx, stream, after, _PAGE):
            found += page
            after = page[-1].seq
            if len(page) < _PAGE:
                break
    last = max((at for at, entry in enumerate(found) if isinstance(entry.body, RolloutStarted | Closed)), default=0)
    return [
        entry
        for at, entry in enumerate(found)
        if at >= last or not isinstance(entry.body, Closed | RolloutStarted | RolloutFinished)
    ]


async def hint_or_stop(context: Context, hints: Subscription, timeout: float) -> set[str] | None:
    """What was hinted at within `timeout` seconds (empty: nothing, or everything); None: the server stops."""
    heard = asyncio.create_task(hints.wait(timeout))
    stop = asyncio.create_task(context.stopping.wait())
    try:
        await asyncio.wait((heard, stop), return_when=asyncio.FIRST_COMPLETED)
        if heard.done():
            return heard.result()
        return None
    finally:
        heard.cancel()
        stop.cancel()
        await asyncio.gather(heard, stop, return_exceptions=True)
