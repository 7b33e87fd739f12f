"""Keeps the server's loops running: a loop that crashes is logged and started again, and never takes the server with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lekiwi_deploy.errors import Unavailable
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.store.database import Database

_log = logging.getLogger("lekiwi.loops")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0


async def supervised(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Runs `loop` for ever; after a crash again, with pauses that double up to 15 s and start over after it ran for a minute."""
    clock = asyncio.get_running_loop()
    pause = FIRST_PAUSE_S
    while True:
        started = clock.time()
        try:
            await loop()
            _log.warning("%s ended by itself; starting it again", name)
        except Unavailable as error:
            _log.warning("%s: %s", name, error.message)
        except Exception:
            _log.exception("%s crashed; starting it again", name)
        if clock.time() - started > 60:
            pause = FIRST_PAUSE_S
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


async def relay_hints(database: Database, nudges: Nudges) -> None:
    """Passes other replicas' hints on to this process; when some may have been missed, everybody looks at everything."""
    async for hint in database.listen():
        if hint is None:
            nudges.wake_all()
        else:
            nudges.local(*hint)
