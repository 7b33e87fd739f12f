"""The loop that keeps the house: partitions ahead, what has expired away, and the robots of servers that are gone."""

from __future__ import annotations

import logging
from datetime import timedelta

from lekiwi_deploy.server.approval_ends import expire
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import conducting, idempotency, packs, partitions, replicas, uploads, waits

_log = logging.getLogger("lekiwi.sweeper")

ALIVE_EVERY_S = 5.0
HOUSE_EVERY = 60
"""Every how many announcements the slow part is done."""
PACKS_KEPT = timedelta(days=14)
CHANGES_KEPT = timedelta(minutes=15)
UPLOADS_KEPT = timedelta(days=1)
WAITS_KEPT = timedelta(days=90)


async def run(context: Context) -> None:
    """For ever: announces this replica, voids what silent ones held and ends what waited too long for approval, every 5 s; keeps the house
    every 5 minutes."""
    with context.nudges.subscribe("sweep") as hint:
        turn = 0
        while True:
            await mind_replicas(context)
            await expire(context.database, context.now())
            if turn % HOUSE_EVERY == 0:
                await keep_house(context)
            turn += 1
            await hint.wait(ALIVE_EVERY_S)


async def mind_replicas(context: Context) -> None:
    """One announcement; replicas that are silent lose their robots and claims."""
    now = context.now()
    async with context.database.transaction() as tx:
        await replicas.announce(tx, context.replica, now)
        for silent in await replicas.silent(tx, now):
            robots = await replicas.retire(tx, silent, now)
            _log.warning("the server process %s is gone; %d robots were linked to it", silent, robots)


async def keep_house(context: Context) -> None:
    """Partitions ahead and too old; stale uploads; answers kept for repeated requests; old packs."""
    now = context.now()
    async with context.database.transaction() as tx:
        await partitions.make_days(tx, now.date() - timedelta(days=1), 4)
        await partitions.drop_days(tx, now.date() - timedelta(days=context.config.log_days))
        await uploads.drop_stale(tx, now - UPLOADS_KEPT)
        await idempotency.drop_old(tx, now)
        await conducting.forget_changes(tx, now - CHANGES_KEPT)
        await waits.forget_old(tx, now - WAITS_KEPT)
        old_packs = await packs.forget_old(tx, now - PACKS_KEPT)
    for key in old_packs:
        await context.objects.delete(key)
