"""Makes packs before robots ask: between "built" and the moved ref there is time for it. Only ever makes things sooner."""

from __future__ import annotations

import logging
from datetime import timedelta

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import packs

_log = logging.getLogger("lekiwi.packs")

RECENT = timedelta(minutes=1)


async def run(context: Context) -> None:
    """For ever: whenever a deployment may wait for its ref, prepares the packs that its robots will ask for."""
    with context.nudges.subscribe("refs") as hint:
        while True:
            if projects := await hint.wait():
                await prepare(context, projects)


async def prepare(context: Context, projects: set[str]) -> None:
    """Makes the packs from what linked robots run to the newest deployments of these projects that were just built."""
    async with context.database.transaction() as tx:
        coming = await packs.coming(tx, projects, context.now() - RECENT)
    for pack in coming:
        try:
            await context.packs.get(pack.old, pack.new, pack.platform.key)
        except LekiwiError as error:  # whoever asks for it is told
            _log.info("no pack for %s to %s: %s", pack.platform.key, pack.new[:12], error.message)
