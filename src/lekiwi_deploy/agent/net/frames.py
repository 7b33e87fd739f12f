"""Frames between the halves: four bytes of length, then MessagePack."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.halves import MAX_FRAME

_ENCODER = msgspec.msgpack.Encoder()


class BadFrame(BadInput):
    """What came is no frame of ours; nothing after it can be understood."""


def framed(message: object) -> bytes:
    """`message` as it goes over the socket."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    """The next message; None at the end of the stream. Raises `BadFrame`: too long, cut off, or no message."""
    try:
        head = await reader.readexactly(4)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadFrame("it ended within a frame") from None
        return None
    length = int.from_bytes(head, "big")
    if length > MAX_FRAME:
        raise BadFrame(f"a frame of {length} bytes; {MAX_FRAME} is the most")
    try:
        return decoder.decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        raise BadFrame("it ended within a frame") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"that is no message of a net half: {str(error)[:200]}") from error
