"""What waits to be sent to a robot stays bounded, and closes in order."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from lekiwi_deploy.server.outbox import Outbox
from lekiwi_deploy.wire.ids import EnvironmentName, ManifestDigest
from lekiwi_deploy.wire.link import Ack, Desired, FromServer, Goodbye, Stream, Ticket


def desired(generation: int) -> Desired:
    return Desired(epoch=1, generation=generation, environment=EnvironmentName("production"))


def sent_by(outbox: Outbox) -> tuple[list[FromServer], int]:
    """Everything that is sent until the close, and its code."""
    frames: list[dict[str, Any]] = []

    async def send(frame: dict[str, Any]) -> None:
        frames.append(frame)

    asyncio.run(outbox.send_all(send))
    *messages, closed = frames
    return [msgspec.json.decode(frame["text"], type=FromServer) for frame in messages], closed["code"]


def test_newer_messages_replace_older_ones_of_the_same_meaning() -> None:
    outbox = Outbox()
    for number in range(1, 1001):
        outbox.put(desired(number))
        outbox.put(Ack(Stream.LOGS, number))
        outbox.put(Ack(Stream.EVENTS, number // 2))
    outbox.close(1001)
    assert sent_by(outbox) == ([desired(1000), Ack(Stream.LOGS, 1000), Ack(Stream.EVENTS, 500)], 1001)


def test_tickets_are_few_and_the_last_words_come_before_the_close() -> None:
    outbox = Outbox()
    for number in range(100):
        digest = ManifestDigest(f"{number:064x}")
        outbox.put(Ticket(digest=digest, ticket="x"))
    bye = Goodbye(why="the server restarts", after_s=1.0)
    outbox.put(bye)
    outbox.close(1008)
    outbox.put(desired(1))
    outbox.close(1001)
    messages, code = sent_by(outbox)
    assert messages[0] == bye
    assert (len(messages), code) == (17, 1008)
    assert not [message for message in messages if isinstance(message, Desired)]
