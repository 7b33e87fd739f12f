"""A small server that speaks the real link and content protocol to one real agent, with faults on demand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import uvicorn
from blake3 import blake3

from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest
from lekiwi_deploy.content.pack import make_pack, pack_objects
from lekiwi_deploy.wire.api import ErrorBody, Joined, JoinRequest
from lekiwi_deploy.wire.assertion import verify
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ObjectDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import (
    Ack,
    Challenge,
    DeploymentRef,
    Desired,
    EventRecords,
    FromRobot,
    Hello,
    LogLine,
    LogRecords,
    Refused,
    Report,
    Stream,
    Ticket,
    TicketPlease,
    TrialPolicy,
    Welcome,
)
from lekiwi_deploy.wire.manifest import Conditions, FileEntry, FileKind, HealthCheck, Manifest, PlatformTree, Service
from lekiwi_deploy.wire.protocol import PROTOCOL

SERVER_ID = "srv_test"
ROBOT = RobotId("lekiwi-001")
QUICK = TrialPolicy(trial_s=0.3)


@dataclass
class Faults:
    """What goes wrong from now on. `cut_after`: bytes of a pack after which the connection breaks, once for each entry; `corrupt`:
    flip a byte of the next packs; `status`: answer content requests with it; `refuse`: what the link says."""

    cut_after: list[int] = field(default_factory=list)
    corrupt: int = 0
    status: int | None = None
    refuse: Refused | None = None
    bad_tickets: bool = False


class AgentServer:
    """Runs in a thread. What the agent sent is in `reports`, `events`, `logs`; what it fetched in `requests`. `files`: more of what it
    serves, by path; `update_key`: what it gives a robot that joins, in hex."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.update_key = ""
        self.files: dict[str, bytes] = {}
        self.faults = Faults()
        self.reports: list[Report] = []
        self.events: dict[int, Any] = {}
        self.logs: dict[int, LogLine] = {}
        self.dropped = 0
        self.hellos: list[Hello] = []
        self.requests: list[str] = []
        self.public_key = b""
        self.join_token = "lkd_enr_test"
        self.joins = 0
        self.desired = Desired(epoch=1, generation=0, environment=EnvironmentName("production"))
        self.refs: dict[str, DeploymentRef] = {}
        self.ack_records = True
        self.port = _free_port()
        self._manifests: dict[str, bytes] = {}
        self._objects: dict[str, bytes] = {}
        self._sockets: list[Callable[[dict[str, object]], Awaitable[None]]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._number = 0

    # --- what a test does

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Serve, on the same port each time."""
        config = uvicorn.Config(
            self._app,
            host=self.host,
            port=self.port,
            log_level=os.environ.get("TEST_SERVER_LOG", "critical"),
            ws="websockets-sansio",
            lifespan="off",
            interface="asgi3",
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.until(lambda: self._server.started, "the test server is up", within_s=10)

    def stop(self) -> None:
        """Be gone, as after a crash: every connection breaks."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._thread = None
        self._sockets.clear()

    def release(
        self,
        files: dict[str, str | bytes],
        services: list[Service],
        *,
        id_: str | None = None,
        executables: tuple[str, ...] = (),
        created_at: datetime | None = None,
        version: str | None = None,
        platforms: dict[str, PlatformTree] | None = None,
        conditions: Conditions | None = None,
    ) -> DeploymentRef:
        """A deployment with these files below code/."""
        self._number += 1
        entries = []
        for path, content in sorted(files.items()):
            data = content.encode() if isinstance(content, str) else content
            digest = ObjectDigest(blake3(data).hexdigest())
            self._objects[digest] = data
            kind = FileKind.EXECUTABLE if path in executables else FileKind.FILE
            entries.append(FileEntry(f"code/{path}", kind, len(data), digest))
        manifest = Manifest(
            project="kiwi",
            stack="plain",
            files=tuple(sorted(entries, key=lambda entry: entry.path)),
            platforms=platforms or {},
            services=tuple(sorted(services, key=lambda service: service.name)),
            conditions=conditions or Conditions(),
        )
        stored = encode_manifest(manifest)
        digest = manifest_digest(stored)
        self._manifests[digest] = stored
        ref = DeploymentRef(
            id=DeploymentId(id_ or f"dep_{self._number:08d}"),
            digest=digest,
            manifest_size=len(stored),
            version=version or f"v0.{self._number}.0",
            created_at=created_at or datetime.now(UTC) + timedelta(milliseconds=self._number),
            commit="8b71ff7",
            branch="main",
            author="anna",
        )
        self.refs[ref.id] = ref
        return ref

    def want(
        self, ref: DeploymentRef | None, *, policy: TrialPolicy = QUICK, generation: int | None = None, **more: Any
    ) -> int:
        """Desire it of the robot; the generation."""
        number = self.desired.generation + 1 if generation is None else generation
        desired = Desired(
            epoch=more.pop("epoch", self.desired.epoch),
            generation=number,
            environment=EnvironmentName("production"),
            deployment=ref,
            policy=policy,
            ticket="good-ticket",
            **more,
        )
        if number > self.desired.generation or desired.epoch > self.desired.epoch:
            self.desired = desired
        self.send(desired)
        return number

    def send(self, message: Any) -> None:
        """To every live link."""
        if self._thread is None:
            return

        async def go() -> None:
            for send in list(self._sockets):
                await send({"type": "websocket.send", "text": encode(message).decode()})

        asyncio.run_coroutine_threadsafe(go(), self._loop).result(10)

    def until(self, condition: Callable[[], Any], what: str, within_s: float = 20.0) -> Any:
        """Wait until `condition` holds; looks whenever the agent said something, and 20 times a second besides."""
        deadline = _now() + within_s
        with self._changed:
            while True:
                found = condition()
                if found:
                    return found
                if _now() > deadline:
                    last = self.reports[-1] if self.reports else None
                    raise AssertionError(f"not within {within_s} s: {what}; last report: {last}")
                self._changed.wait(0.05)

    def healthy(self, ref: DeploymentRef, *, good: bool = False, within_s: float = 20.0) -> Report:
        """Wait until the robot reports that it runs it, healthy."""

        def there() -> Report | None:
            report = self.reports[-1] if self.reports else None
            running = report.running if report is not None else None
            fits = (
                running is not None
                and running.digest == ref.digest
                and running.deployment == ref.id
                and running.healthy
            )
            return report if fits and running is not None and (running.good or not good) else None

        found: Report = self.until(there, f"{ref.id} healthy{' and good' if good else ''}", within_s)
        return found

    def outcome(self, ref: DeploymentRef, result: str, within_s: float = 30.0) -> Report:
        """Wait until the robot reports this outcome."""

        def there() -> Report | None:
            report = self.reports[-1] if self.reports else None
            outcome = report.outcome if report is not None else None
            return report if outcome is not None and outcome.deployment == ref.id and outcome.result == result else None

        found: Report = self.until(there, f"outcome {result} of {ref.id}", within_s)
        return found

    def texts(self, service: str) -> list[str]:
        """Log lines of a service, in order."""
        return [self.logs[number].text for number in sorted(self.logs) if self.logs[number].service == service]

    @property
    def linked(self) -> bool:
        return bool(self._sockets)

    def cut_links(self) -> None:
        """Break every live link."""

        async def go() -> None:
            for send in list(self._sockets):
                await send({"type": "websocket.close", "code": 1011})

        asyncio.run_coroutine_threadsafe(go(), self._loop).result(10)

    # --- what it serves

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._server.serve())
        self._loop.close()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._link(receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = dict(item.split("=", 1) for item in scope["query_string"].decode().split("&") if item)
        path = scope["path"]
        if path == "/api/join":
            return await self._join(body, send)
        self.requests.append(f"{scope['method']} {path}" + (f" from {query['from'][:8]}" if "from" in query else ""))
        if path in self.files:
            return await _answer(send, 200, self.files[path])
        if self.faults.status is not None:
            return await _answer(send, self.faults.status, encode(ErrorBody(code="unavailable", message="not now")))
        if self.faults.bad_tickets and headers.get("authorization") != "Ticket new-ticket":
            return await _answer(send, 401, encode(ErrorBody(code="unauthenticated", message="the ticket has expired")))
        if path.startswith("/content/packs/"):
            return await self._pack(path.rsplit("/", 1)[1], query, headers, send)
        if path == "/content/objects":
            digests = tuple(ObjectDigest(digest) for digest in msgspec.json.decode(body))
            return await _answer(send, 200, b"".join(pack_objects(digests, self._objects.__getitem__)))
        await _answer(send, 404, encode(ErrorBody(code="not_found", message="no such thing")))

    async def _join(self, body: bytes, send: Any) -> None:
        request = msgspec.json.decode(body, type=JoinRequest)
        if request.token != self.join_token or self.joins:
            error = ErrorBody(
                code="unauthenticated", message="the join token is not valid: it was used, or it has expired"
            )
            return await _answer(send, 401, encode(error))
        self.joins += 1
        self.public_key = base64.b64decode(request.public_key)
        joined = Joined(
            robot=ROBOT,
            project=ProjectName("kiwi"),
            environment=EnvironmentName("production"),
            server=SERVER_ID,
            update_key=self.update_key,
        )
        await _answer(send, 200, encode(joined))

    async def _pack(self, to: str, query: dict[str, str], headers: dict[str, str], send: Any) -> None:
        if to not in self._manifests:
            return await _answer(send, 404, encode(ErrorBody(code="not_found", message="no such manifest")))
        old = self._manifests.get(query.get("from", ""))
        data = b"".join(make_pack(old, self._manifests[to], query["platform"], self._objects.__getitem__))
        if self.faults.corrupt > 0:
            self.faults.corrupt -= 1
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
        start, status = 0, 200
        if headers.get("range", "").startswith("bytes="):
            start, status = int(headers["range"].removeprefix("bytes=").rstrip("-")), 206
            self.requests.append(f"resume at {start}")
        cut = self.faults.cut_after.pop(0) if self.faults.cut_after else None
        await _answer(send, status, data[start:], cut=cut)

    async def _link(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        async def say(message: Any) -> None:
            await send({"type": "websocket.send", "text": encode(message).decode()})

        nonce = os.urandom(16).hex()
        await say(Challenge(protocol=PROTOCOL, server=SERVER_ID, nonce=nonce))
        try:
            hello = msgspec.json.decode((await receive())["text"], type=FromRobot)
            assert isinstance(hello, Hello)
            claims = verify(hello.token, self.public_key, server=SERVER_ID, nonce=nonce)
            assert claims.iss == ROBOT
            if self.faults.refuse is not None:
                await say(self.faults.refuse)
                await send({"type": "websocket.close", "code": 1000})
                return
            self.hellos.append(hello)
            self.reports.append(hello.report)
            self._sockets.append(send)
            acked = {Stream.EVENTS: max(self.events, default=0), Stream.LOGS: max(self.logs, default=0)}
            await say(Welcome(robot=ROBOT, project="kiwi", acked=acked, desired=self.desired, reconnect_max_s=1.0))
            self._tell()
            while True:
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._heard(msgspec.json.decode(message["text"], type=FromRobot), say)
                self._tell()
        finally:
            if send in self._sockets:
                self._sockets.remove(send)
            self._tell()

    async def _heard(self, message: Any, say: Callable[[Any], Awaitable[None]]) -> None:
        match message:
            case Report():
                if message.number > self.reports[-1].number:
                    self.reports.append(message)
            case EventRecords(records):
                self.events.update({record.seq: record.event for record in records if record.seq not in self.events})
                if self.ack_records:
                    await say(Ack(Stream.EVENTS, records[-1].seq))
            case LogRecords(records, dropped):
                self.dropped += dropped
                self.logs.update({record.seq: record.line for record in records if record.seq not in self.logs})
                if self.ack_records:
                    await say(Ack(Stream.LOGS, records[-1].seq))
            case TicketPlease(digest=digest):
                await say(Ticket(digest=digest, ticket="new-ticket"))
            case _:
                raise AssertionError(message)


def web(
    name: str = "web", *, port: int, code: str = "web.py", health: tuple[HealthCheck, ...] = (), **more: Any
) -> Service:
    """A service that runs a Python file of the release. What it is made of is in `content`."""
    content = more.pop("content", code)
    return Service(
        name=name,
        run=more.pop("run", ("python3", "-u", code)),
        content=hashlib.sha256(content.encode()).hexdigest(),
        port=port,
        health=health,
        stop_grace_s=more.pop("stop_grace_s", 3.0),
        **more,
    )


def manifest_of(server: AgentServer, digest: ManifestDigest) -> Manifest:
    """What the server stored."""
    return msgspec.json.decode(server._manifests[digest], type=Manifest)


async def _answer(send: Any, status: int, data: bytes, *, cut: int | None = None) -> None:
    length = [(b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": length})
    if cut is not None and cut < len(data):
        await send({"type": "http.response.body", "body": data[:cut], "more_body": True})
        raise ConnectionResetError("cut on purpose")
    await send({"type": "http.response.body", "body": data})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _now() -> float:
    import time

    return time.monotonic()
