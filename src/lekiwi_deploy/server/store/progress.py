"""Progress streams: append-only, numbered from 1 without gaps, followed by `git push`, `lekiwi deploy` and the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.json_text import json_text
from lekiwi_deploy.wire.progress import Body, Progress

_APPEND = """
WITH stream AS (
    INSERT INTO progress_streams (stream, seq, closed) VALUES (%(stream)s, %(count)s, %(close)s)
    ON CONFLICT (stream) DO UPDATE
        SET seq = progress_streams.seq + %(count)s, closed = progress_streams.closed OR excluded.closed
    RETURNING seq - %(count)s AS before
)
INSERT INTO progress (stream, seq, at, body)
SELECT %(stream)s, stream.before + body.number, %(now)s, body.value
FROM stream, jsonb_array_elements(%(bodies)s::jsonb) WITH ORDINALITY AS body(value, number)
"""


class StreamState(msgspec.Struct, frozen=True):
    """`seq`: of its newest entry; `closed`: no more are expected."""

    seq: int
    closed: bool


async def append(tx: Transaction, stream: str, bodies: Sequence[Body], now: datetime, close: bool = False) -> None:
    """Adds `bodies` to `stream` in order, all at `now`; `close`: these are the last ones. Hints `progress`."""
    if not bodies and not close:
        return
    await tx.execute(
        _APPEND,
        {
            "stream": stream,
            "count": len(bodies),
            "close": close,
            "now": now,
            "bodies": json_text(list(bodies)),
        },
    )
    await tx.notify("progress", stream)


async def read(tx: Transaction, stream: str, after: int = 0, limit: int = 500) -> list[Progress]:
    """The entries of `stream` with a number above `after`, in order, at most `limit`."""
    return await tx.rows(
        "SELECT stream, seq, at, body FROM progress WHERE stream = %s AND seq > %s ORDER BY seq LIMIT %s",
        (stream, after, limit),
        Progress,
    )


async def state(tx: Transaction, stream: str) -> StreamState:
    """How far `stream` is; (0, open) when nothing was written to it yet."""
    found = await tx.row("SELECT seq, closed FROM progress_streams WHERE stream = %s", (stream,), StreamState)
    return found or StreamState(0, False)
