"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from litestar import Response, get

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.wire.api import Readiness

PATIENCE_S = 3.0


@get("/healthz", public=True)
async def show_liveness() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@get("/readyz", public=True)
async def show_readiness(context: Context) -> Response[Readiness]:
    """200 when database and object store can be used, else 503 with what cannot."""
    database, store = await asyncio.gather(
        _fault(_database(context)), _fault(context.objects.exists("manifests/ready"))
    )
    faults = {name: fault for name, fault in (("database", database), ("store", store)) if fault is not None}
    return Response(Readiness(ready=not faults, not_ready=faults), status_code=503 if faults else 200)


async def _database(context: Context) -> None:
    async with context.database.transaction() as tx:
        await tx.execute("SELECT 1")


async def _fault(check: Awaitable[object]) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check
    except TimeoutError:
        return f"no answer in {PATIENCE_S:g} s"
    except LekiwiError as error:
        return error.message
    return None


handlers = [show_liveness, show_readiness]
