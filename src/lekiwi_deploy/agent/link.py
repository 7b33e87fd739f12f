"""The link to the server: one WebSocket that this robot opens, again and again. It carries; it decides nothing.

A lost link means that nobody hears of what the robot does; the robot does it all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.config import read_key
from lekiwi_deploy.agent.control import Control
from lekiwi_deploy.agent.report import Reporter, same, urgent
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.client.proxies import proxy_for
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.backoff import reconnect_delay
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.link import (
    MAX_FRAME,
    Ack,
    Challenge,
    Desired,
    FromServer,
    Goodbye,
    Hello,
    Refused,
    Report,
    Stream,
    Ticket,
    TicketPlease,
    Welcome,
)
from lekiwi_deploy.wire.protocol import PROTOCOL

_GATHER_S = 0.1
"""Reports that nobody waits for are gathered for so long."""
_PING_S = 20.0
_STANDS_S = 10.0
"""A link that ends sooner counts as a failed attempt, so that one which is cut off again and again is tried ever less often."""
_DECODER: msgspec.json.Decoder[FromServer] = msgspec.json.Decoder(FromServer)


class LinkRefused(Exception):
    """The server does not want this robot. `retry`: it may later, by itself."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class GoneFor(Exception):
    """The server closes; come back after so many seconds."""

    def __init__(self, why: str, after_s: float) -> None:
        super().__init__(why)
        self.after_s = after_s


class Link:
    """Runs until cancelled. `control` is told how it stands."""

    def __init__(self, robot: Robot, reporter: Reporter, control: Control, *, randomness: Callable[[], float]) -> None:
        self._robot = robot
        self._reporter = reporter
        self._control = control
        self._randomness = randomness
        self._cap_s = 60.0
        self._read_every_s = 300.0
        self._attempt = 0
        self._stood_since: float | None = None  # CLOCK_BOOTTIME
        self._spools = {Stream.EVENTS: robot.events, Stream.LOGS: robot.logs}

    async def run(self) -> None:
        """Connect, stay, come back."""
        said = ""
        while True:
            delay = None
            self._stood_since = None
            try:
                await self._once()
                why = "the connection ended"
            except GoneFor as error:
                why, delay = f"the server went away: {error}", error.after_s
            except LinkRefused as error:
                why = f"the server refuses this robot: {error}"
                delay = None if error.retry else self._cap_s / 2
            except LekiwiError as error:
                why = error.message
                delay = self._cap_s / 2
            except (OSError, InvalidHandshake, InvalidURI, ConnectionClosed, msgspec.MsgspecError) as error:
                why = f"{self._robot.config.server} cannot be reached: {_words(error)}"
            self._control.linked = False
            self._control.link = why
            if why != said:
                self._robot.history.note("link", why)
                said = why
            if self._stood_since is not None and machine.boottime() - self._stood_since >= _STANDS_S:
                self._attempt = 0
            wait = reconnect_delay(self._attempt, self._randomness(), cap_s=self._cap_s)
            self._attempt += 1
            await asyncio.sleep(wait + (delay or 0.0))

    async def _once(self) -> None:
        robot = self._robot
        address = "ws" + robot.config.server.removeprefix("http") + "/link"
        ping = _PING_S * (0.75 + 0.5 * self._randomness())
        async with connect(
            address,
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=10,
            ping_interval=ping,
            ping_timeout=ping,
            close_timeout=1,
            proxy=proxy_for(robot.config.server, os.environ),
            user_agent_header=f"lekiwi-agent/{__version__}",
            max_queue=64,
        ) as socket:
            welcome = await self._greet(socket)
            self._stood_since = machine.boottime()
            self._cap_s = max(1.0, welcome.reconnect_max_s)
            self._read_every_s = max(1.0, welcome.read_every_s)
            self._control.linked, self._control.link = True, f"connected to {robot.config.server}"
            for stream, spool in self._spools.items():
                acked = welcome.acked.get(stream, 0)
                spool.skip_to(acked)
                spool.acknowledge(acked)
            robot.take(welcome.desired)
            robot.history.note("linked", f"connected to {robot.config.server}")
            await self._talk(socket)

    async def _greet(self, socket: ClientConnection) -> Welcome:
        robot = self._robot
        async with asyncio.timeout(20):
            challenge = await _next(socket)
            if isinstance(challenge, Refused):
                raise LinkRefused(challenge.message, retry=challenge.retry)
            if not isinstance(challenge, Challenge):
                raise LinkRefused("it does not begin with a challenge", retry=True)
            if challenge.server != robot.config.server_id:
                raise LinkRefused(
                    f"it is server {challenge.server}, and this robot joined {robot.config.server_id}", retry=False
                )
            claims = Claims(iss=robot.config.robot, aud=challenge.server, nonce=challenge.nonce, boot=machine.boot_id())
            robot.flush()
            self._sent = self._reporter.report()
            hello = Hello(
                protocol=PROTOCOL,
                token=sign(claims, read_key(robot.paths)),
                agent=__version__,
                hostname=machine.hostname(),
                platform=robot.platform,
                report=self._sent,
                last={stream: spool.last for stream, spool in self._spools.items()},
            )
            await socket.send(encode(hello).decode())
            answer = await _next(socket)
        if isinstance(answer, Refused):
            raise LinkRefused(answer.message, retry=answer.retry)
        if not isinstance(answer, Welcome):
            raise LinkRefused("it did not answer the greeting", retry=True)
        return answer

    async def _talk(self, socket: ClientConnection) -> None:
        tasks = [
            asyncio.create_task(self._hear(socket)),
            asyncio.create_task(self._report(socket)),
            asyncio.create_task(self._send_records(socket)),
            asyncio.create_task(self._ask_tickets(socket)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, socket: ClientConnection) -> None:
        robot = self._robot
        while True:
            match await _next(socket):
                case Desired() as desired:
                    robot.take(desired)
                case Ack(stream, seq):
                    self._spools[stream].acknowledge(seq)
                    robot.records_due.set()
                case Ticket(digest=digest, ticket=ticket):
                    robot.take_ticket(digest, ticket)
                case Goodbye(why=why, after_s=after_s):
                    raise GoneFor(why, after_s)
                case Refused(message=message, retry=retry):
                    raise LinkRefused(message, retry=retry)
                case Challenge() | Welcome():
                    raise LinkRefused("it greets twice", retry=True)

    async def _report(self, socket: ClientConnection) -> None:
        robot = self._robot
        robot.report_due.set()
        while True:
            every = self._read_every_s * (0.8 + 0.4 * self._randomness())
            due = False
            try:
                async with asyncio.timeout(every):
                    await robot.report_due.wait()
            except TimeoutError:
                due = True
            robot.report_due.clear()
            report = self._reporter.report()
            if not due and same(self._sent, report):
                continue
            if not due and not urgent(self._sent, report):
                report = await self._gathered(report)
            robot.flush()
            await socket.send(encode(report).decode())
            self._sent = report

    async def _gathered(self, report: Report) -> Report:
        """The newest report after a while, or as soon as there is one that somebody waits for."""
        robot = self._robot
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S):
                while not urgent(self._sent, report):
                    await robot.report_due.wait()
                    robot.report_due.clear()
                    report = self._reporter.report()
        robot.report_due.clear()
        return self._reporter.report()

    async def _send_records(self, socket: ClientConnection) -> None:
        """One batch of each stream at a time: the next when the last is acknowledged."""
        sent = {stream: spool.acked for stream, spool in self._spools.items()}
        self._robot.records_due.set()
        while True:
            await self._robot.records_due.wait()
            self._robot.records_due.clear()
            for stream, spool in self._spools.items():
                if spool.acked < sent[stream]:
                    continue
                message, last = _records(stream, spool)
                if message:
                    await socket.send(message)
                    sent[stream] = last

    async def _ask_tickets(self, socket: ClientConnection) -> None:
        robot = self._robot
        while True:
            await robot.ticket_due.wait()
            robot.ticket_due.clear()
            desired = robot.ledger.desired
            if desired is not None and desired.deployment is not None:
                await socket.send(encode(TicketPlease(desired.deployment.digest)).decode())


def _records(stream: Stream, spool: Spool) -> tuple[str, int]:
    """The next batch as a message (put together from what is on disk, without reading it as objects) and its last number."""
    batch = spool.batch(spool.acked)
    if batch is None:
        return "", 0
    body = b",".join(batch.records)
    tail = b',"dropped":%d}' % batch.dropped if stream is Stream.LOGS else b"}"
    return (b'{"type":"%b","records":[%b]%b' % (stream.value.encode(), body, tail)).decode(), batch.last


async def _next(socket: ClientConnection) -> FromServer:
    return _DECODER.decode(await socket.recv())


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
