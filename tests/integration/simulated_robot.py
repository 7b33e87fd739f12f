"""A robot that speaks the real link protocol and does at once what a robot would do, so that tests see the server's side alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from nacl.signing import SigningKey
from served_app import Asker
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lekiwi_deploy.wire.api import Joined, JoinRequest, RobotJoin
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, RobotId
from lekiwi_deploy.wire.link import (
    Ack,
    AgentState,
    Challenge,
    DeploymentRef,
    Desired,
    Event,
    EventRecord,
    EventRecords,
    FromServer,
    Goodbye,
    Hello,
    LogLine,
    LogRecord,
    LogRecords,
    Outcome,
    Phase,
    Pin,
    Refused,
    Report,
    Result,
    Running,
    Stream,
    Ticket,
    Welcome,
)
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.protocol import PROTOCOL

PLATFORM = Platform("linux", "x86_64", "glibc", "2.36", "3.11")
SOON_S = 5.0
T = Any


@dataclass
class SimulatedRobot:
    """`bad`: deployments that fail here; `slow`: the robot only says that it knows of a new desired state, and acts when `act` is called."""

    name: RobotId
    url: str
    server: str
    key: bytes
    boot: str = field(default_factory=lambda: secrets.token_hex(8))
    bad: set[str] = field(default_factory=set)
    slow: bool = False
    desired: Desired | None = None
    running: Running | None = None
    fallback: Running | None = None
    outcome: Outcome | None = None
    pin: Pin | None = None
    quarantined: tuple[DeploymentId, ...] = ()
    agent: AgentState | None = None
    number: int = 0
    acked: dict[Stream, int] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    ended: Refused | Goodbye | None = None
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)
    socket: ClientConnection | None = None
    _task: asyncio.Task[None] | None = None

    async def connect(self) -> Welcome | Refused:
        """Links; gives what the server answered. What comes afterwards is taken by a task."""
        self.ended = None
        self.socket = await connect(f"ws{self.url.removeprefix('http')}/link", proxy=None, compression=None)
        challenge = await self.receive()
        assert isinstance(challenge, Challenge), challenge
        answer = await self.greet(challenge)
        if isinstance(answer, Welcome):
            self.acked = dict(answer.acked)
            await self.take(answer.desired)
            self._task = asyncio.create_task(self._hear())
        return answer

    async def greet(self, challenge: Challenge, *, token: str | None = None, protocol: int = PROTOCOL) -> FromServer:
        """Says hello; gives the answer."""
        claims = Claims(iss=self.name, aud=challenge.server, nonce=challenge.nonce, boot=self.boot)
        hello = Hello(
            protocol=protocol,
            token=token or sign(claims, self.key),
            agent="0.1-test",
            hostname="kiwi",
            platform=PLATFORM,
            report=self.report(),
            last={},
        )
        await self.send(hello)
        return await self.receive()

    async def welcomed(self) -> Welcome:
        """Links, and fails the test when it is refused."""
        answer = await self.connect()
        assert isinstance(answer, Welcome), answer
        return answer

    async def receive(self) -> FromServer:
        """The next message."""
        assert self.socket is not None
        async with asyncio.timeout(SOON_S):
            return msgspec.json.decode(await self.socket.recv(), type=FromServer)

    async def send(self, message: Any) -> None:
        """Any message, or raw text."""
        assert self.socket is not None
        await self.socket.send(message if isinstance(message, str | bytes) else encode(message).decode())

    def report(self, phase: Phase = Phase.IDLE) -> Report:
        """What the robot would say now."""
        self.number += 1
        desired = self.desired
        outcome = self.outcome
        if (
            desired is None
            or desired.deployment is None
            or outcome is None
            or outcome.deployment != desired.deployment.id
        ):
            outcome = None
        return Report(
            number=self.number,
            epoch=desired.epoch if desired else 0,
            generation=desired.generation if desired else 0,
            phase=phase,
            running=self.running,
            outcome=outcome,
            pin=self.pin,
            quarantined=self.quarantined,
            agent=self.agent,
        )

    async def take(self, desired: Desired) -> None:
        """Learns what is wanted, and does it unless it is slow."""
        self.desired = desired
        if not self.slow and desired.deployment is not None:
            await self.act()
        elif self.socket is not None:
            await self.send(self.report(Phase.FETCHING))

    async def act(self) -> None:
        """Runs what is wanted, or finds that it is bad and keeps what it had."""
        assert self.desired is not None and self.desired.deployment is not None
        ref = self.desired.deployment
        if self.desired.resume:
            self.pin = None
        if self.desired.by_hand:
            self.pin = Pin(deployment=ref.id, by="lekiwi rollback --robot", at=datetime.now(UTC))
        if ref.id in self.bad:
            if ref.id not in self.quarantined:
                self.quarantined = (*self.quarantined, ref.id)
            self.outcome = self._outcome(ref, Result.ROLLED_BACK if self.running else Result.FAILED)
        elif self.running is None or self.running.deployment != ref.id:
            self.fallback = self.running
            self.running = Running(
                deployment=ref.id, digest=ref.digest, healthy=True, good=False, since=datetime.now(UTC)
            )
            self.outcome = self._outcome(ref, Result.HEALTHY)
        await self.send(self.report())

    async def prove(self) -> None:
        """The trial is over: what runs is good."""
        assert self.running is not None and self.desired is not None and self.desired.deployment is not None
        self.running = msgspec.structs.replace(self.running, good=True)
        self.outcome = self._outcome(self.desired.deployment, Result.GOOD)
        await self.send(self.report())

    async def fall_back(self) -> None:
        """The trial fails after all."""
        assert self.desired is not None and self.desired.deployment is not None
        self.bad.add(self.desired.deployment.id)
        self.running = self.fallback
        await self.act()

    def _outcome(self, ref: DeploymentRef, result: Result) -> Outcome:
        assert self.desired is not None
        return Outcome(
            deployment=ref.id,
            digest=ref.digest,
            generation=self.desired.generation,
            result=result,
            at=datetime.now(UTC),
            switch_ms=12.0,
            gap_ms=1.0,
            ready_ms=5.0,
            wire_bytes=321,
            why="web did not become healthy" if result in (Result.ROLLED_BACK, Result.FAILED) else None,
            log=("Traceback: boom",) if result in (Result.ROLLED_BACK, Result.FAILED) else (),
        )

    async def write(self, first: int, *texts: str, dropped: int = 0, deployment: str | None = None) -> None:
        """Sends log lines numbered from `first` on."""
        id = DeploymentId(deployment) if deployment else None
        records = tuple(
            LogRecord(first + at, LogLine(at=datetime.now(UTC), service="web", deployment=id, stream="out", text=text))
            for at, text in enumerate(texts)
        )
        await self.send(LogRecords(records, dropped))

    async def happen(self, first: int, *texts: str) -> None:
        """Sends events numbered from `first` on."""
        records = tuple(
            EventRecord(first + at, Event(at=datetime.now(UTC), kind="started", text=text))
            for at, text in enumerate(texts)
        )
        await self.send(EventRecords(records))

    async def until(self, true: Any) -> None:
        """Waits until `true()` holds; it is asked after each message."""
        async with asyncio.timeout(SOON_S), self.heard:
            await self.heard.wait_for(true)

    async def _hear(self) -> None:
        assert self.socket is not None
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async for data in self.socket:
                message = msgspec.json.decode(data, type=FromServer)
                match message:
                    case Desired():
                        await self.take(message)
                    case Ack(stream, seq):
                        self.acked[stream] = seq
                    case Ticket():
                        self.tickets[message.digest] = message.ticket
                    case Refused() | Goodbye():
                        self.ended = message
                async with self.heard:
                    self.heard.notify_all()
        async with self.heard:
            self.heard.notify_all()

    async def closed(self) -> Refused | Goodbye | None:
        """Waits until the server has closed the link; gives its last words."""
        assert self._task is not None
        await asyncio.wait((self._task,), timeout=SOON_S)
        assert self._task.done(), "the server did not close the link"
        return self.ended

    async def close(self) -> None:
        """The link ends, in order."""
        if self.socket is not None:
            await self.socket.close()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=SOON_S)
        self.socket, self._task = None, None


async def enrol(
    owner: Asker, url: str, name: str, *, project: str = "web", group: str = "production"
) -> SimulatedRobot:
    """Adds a robot and joins it, as a person and `lekiwi-agent join` do."""
    status, _, added = await owner.ask("POST", f"/api/projects/{project}/robots", {"name": name, "group": group})
    assert status == 201, added
    return await join(url, msgspec.convert(added, RobotJoin))


async def join(url: str, line: RobotJoin) -> SimulatedRobot:
    """Uses a join line."""
    key = SigningKey.generate()
    public = base64.b64encode(bytes(key.verify_key)).decode()
    request = JoinRequest(token=line.token, public_key=public, hostname="kiwi", agent="0.1-test", platform=PLATFORM)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        answer = await http.post("/api/join", content=encode(request))
    assert answer.status_code == 200, answer.text
    joined = msgspec.json.decode(answer.content, type=Joined)
    return SimulatedRobot(name=joined.robot, url=url, server=joined.server, key=bytes(key))
