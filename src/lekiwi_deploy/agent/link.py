"""The link to the server, which this robot opens again and again. It carries; it decides nothing.

What is said is the same whether this process has the network itself or its net half has it (`net/`). A lost link means that nobody hears
of what the robot does; the robot does it all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.control import Control
from lekiwi_deploy.agent.net.network import Connection, LinkLost, NetHalfGone, Network
from lekiwi_deploy.agent.report import Reporter, same, urgent
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.backoff import reconnect_delay
from lekiwi_deploy.robot.soundness import unsound
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.link import (
    Ack,
    AgentWanted,
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

_DISK_AGAIN_S = 5.0
_GATHER_S = 0.1
"""Reports that nobody waits for are gathered for so long."""
_PING_S = 20.0
_LARGEST = 2**53
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
    """Runs until cancelled. `control` is told how it stands, `want_agent` which release of the agent the server wants."""

    def __init__(
        self,
        robot: Robot,
        reporter: Reporter,
        control: Control,
        network: Network,
        *,
        want_agent: Callable[[AgentWanted | None], None],
        randomness: Callable[[], float],
    ) -> None:
        self._robot = robot
        self._want_agent = want_agent
        self._network = network
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
            await self._network.ready()
            try:
                await self._once()
                why = "the connection ended"
            except GoneFor as error:
                why, delay = f"the server went away: {error}", error.after_s
            except LinkRefused as error:
                why = f"the server refuses this robot: {error}"
                delay = None if error.retry else self._cap_s / 2
            except (LinkLost, TimeoutError, msgspec.MsgspecError) as error:
                words = error.message if isinstance(error, LinkLost) else str(error) or "it does not answer"
                why = f"{self._robot.config.server} cannot be reached: {words}"
            except NetHalfGone as error:
                why = error.message
            except LekiwiError as error:
                why = error.message
                delay = self._cap_s / 2
            except OSError as error:  # of this robot's disk
                why = f"the robot's state cannot be written: {error.strerror or error}"
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
        ping = _PING_S * (0.75 + 0.5 * self._randomness())
        async with self._network.link(ping_s=ping) as connection:
            welcome = await self._greet(connection)
            self._stood_since = machine.boottime()
            self._cap_s = max(1.0, welcome.reconnect_max_s)
            self._read_every_s = max(1.0, welcome.read_every_s)
            self._control.linked, self._control.link = True, f"connected to {robot.config.server}"
            for stream, spool in self._spools.items():
                acked = min(welcome.acked.get(stream, 0), _LARGEST)
                spool.skip_to(acked)
                spool.acknowledge(acked)
            self._take(welcome.desired)
            robot.history.note("linked", f"connected to {robot.config.server}")
            await self._talk(connection)

    async def _greet(self, connection: Connection) -> Welcome:
        robot = self._robot
        async with asyncio.timeout(20):
            challenge = await _next(connection)
            if isinstance(challenge, Refused):
                raise LinkRefused(challenge.message, retry=challenge.retry)
            if not isinstance(challenge, Challenge):
                raise LinkRefused("it does not begin with a challenge", retry=True)
            if challenge.server != robot.config.server_id:
                raise LinkRefused(
                    f"it is server {challenge.server}, and this robot joined {robot.config.server_id}", retry=False
                )
            token = await connection.token(challenge.server, challenge.nonce, machine.boot_id())
            self._sent = self._seen()
            hello = Hello(
                protocol=PROTOCOL,
                token=token,
                agent=__version__,
                hostname=machine.hostname(),
                platform=robot.platform,
                report=self._sent,
                last={stream: spool.last for stream, spool in self._spools.items()},
            )
            await connection.send(encode(hello).decode())
            answer = await _next(connection)
        if isinstance(answer, Refused):
            raise LinkRefused(answer.message, retry=answer.retry)
        if not isinstance(answer, Welcome):
            raise LinkRefused("it did not answer the greeting", retry=True)
        return answer

    async def _talk(self, connection: Connection) -> None:
        tasks = [
            asyncio.create_task(self._hear(connection)),
            asyncio.create_task(self._report(connection)),
            asyncio.create_task(self._send_records(connection)),
            asyncio.create_task(self._ask_tickets(connection)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, connection: Connection) -> None:
        robot = self._robot
        while True:
            match await _next(connection):
                case Desired() as desired:
                    self._take(desired)
                case Ack(stream, seq):
                    if seq > self._spools[stream].last:
                        raise LinkRefused(f"it has {stream} that this robot never sent", retry=True)
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

    def _take(self, desired: Desired) -> None:
        wrong = unsound(desired)
        if wrong is not None:
            raise LinkRefused(f"it sent no desired state of ours: {wrong}", retry=True)
        self._want_agent(desired.agent)
        self._robot.take(msgspec.structs.replace(desired, agent=None))

    async def _report(self, connection: Connection) -> None:
        robot = self._robot
        robot.report_due.set()
        while True:
            every = self._read_every_s * (0.8 + 0.4 * self._randomness())
            if robot.disk_trouble is not None:
                every = min(every, _DISK_AGAIN_S)
            due = False
            try:
                async with asyncio.timeout(every):
                    await robot.report_due.wait()
            except TimeoutError:
                due = True
            robot.report_due.clear()
            report = self._seen()
            if not due and same(self._sent, report):
                continue
            if not due and not urgent(self._sent, report):
                report = await self._gathered(report)
            await connection.send(encode(report).decode())
            self._sent = report

    async def _gathered(self, report: Report) -> Report:
        """The newest report after a while, or as soon as there is one that somebody waits for."""
        robot = self._robot
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S):
                while not urgent(self._sent, report):
                    await robot.report_due.wait()
                    robot.report_due.clear()
                    report = self._seen()
        robot.report_due.clear()
        return self._seen()

    def _seen(self) -> Report:
        """The robot, now. What it reports as seen is on disk; where the disk cannot be written, that is what it reports."""
        with contextlib.suppress(OSError):
            self._robot.flush()
        return self._reporter.report()

    async def _send_records(self, connection: Connection) -> None:
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
                    await connection.send(message)
                    sent[stream] = last

    async def _ask_tickets(self, connection: Connection) -> None:
        robot = self._robot
        while True:
            await robot.ticket_due.wait()
            robot.ticket_due.clear()
            while robot.tickets_due:
                await connection.send(encode(TicketPlease(robot.tickets_due.pop())).decode())


def _records(stream: Stream, spool: Spool) -> tuple[str, int]:
    """The next batch as a message (put together from what is on disk, without reading it as objects) and its last number."""
    batch = spool.batch(spool.acked)
    if batch is None:
        return "", 0
    body = b",".join(batch.records)
    tail = b',"dropped":%d}' % batch.dropped if stream is Stream.LOGS else b"}"
    return (b'{"type":"%b","records":[%b]%b' % (stream.value.encode(), body, tail)).decode(), batch.last


async def _next(connection: Connection) -> FromServer:
    return _DECODER.decode(await connection.recv())
