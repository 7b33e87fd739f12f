"""NDJSON answers: one JSON object per line, an empty line for silence, ended quietly when the server stops or the database goes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from litestar.response import Stream

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.encoding import encode

_log = logging.getLogger("lekiwi.http")


def ndjson(values: AsyncIterator[object | None]) -> Stream:
    """`values` as lines; None is an empty line, which tells both ends that the other is there."""
    return Stream(_lines(values), media_type="application/x-ndjson", headers={"cache-control": "no-store"})


async def _lines(values: AsyncIterator[object | None]) -> AsyncIterator[bytes]:
    try:
        async for value in values:
            yield b"\n" if value is None else encode(value) + b"\n"
    except LekiwiError as error:
        _log.warning("a stream ended early: %s", error.message)  # whoever follows takes it up again by its cursor
