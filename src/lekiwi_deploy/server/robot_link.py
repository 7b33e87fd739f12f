"""One robot's socket: frames in, `fleet.link.step`, effects carried out. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, assert_never

import msgspec

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.fleet import link as decide
from lekiwi_deploy.fleet import link_effects as do
from lekiwi_deploy.server import tickets
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.desired import desired_of
from lekiwi_deploy.server.inbox import Inbox
from lekiwi_deploy.server.outbox import Outbox
from lekiwi_deploy.server.store import sessions
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.sessions import DesiredRow, NewReport
from lekiwi_deploy.wire.ids import ManifestDigest, ProjectName, RobotId, base62
from lekiwi_deploy.wire.link import MAX_FRAME, FromRobot, Report, Stream, Ticket
from lekiwi_deploy.wire.variables import SealedVariables

HELLO_S = 10.0
"""A socket that says no hello for so long is closed: an older one proves nothing any more."""
BATCHES = 8
"""So many batches of records may wait to be stored; then no more frames are read."""
Receive = Callable[..., Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_log = logging.getLogger("lekiwi.link")
_DECODER = msgspec.json.Decoder(FromRobot)


class RobotLink:
    """A live socket and its session. What came over it goes to `inbox`; `welcomed_here` is called when it became its robot's.
    `report`: the newest that was taken in over it; `welcomed`: it was the robot's at some time."""

    def __init__(self, context: Context, inbox: Inbox, welcomed_here: Callable[[RobotLink], None]) -> None:
        self._context, self._inbox, self._welcomed_here = context, inbox, welcomed_here
        self.project = ProjectName("")
        self.report: Report | None = None
        self.welcomed = False
        self._room = asyncio.Semaphore(BATCHES)
        self._outbox = Outbox()
        self._session, effects = decide.opened(
            f"ses_{base62(context.random(32), 16)}", context.server_id, base62(context.random(48), 24)
        )
        for effect in effects:
            self._put(effect)

    @property
    def robot(self) -> RobotId:
        """Whose link it is; only once it said who it is."""
        assert self._session.robot is not None
        return self._session.robot

    @property
    def session_id(self) -> str:
        """This link's session."""
        return self._session.id

    @property
    def live(self) -> bool:
        """Whether the robot was welcomed and not refused since."""
        return self._session.stage is decide.Stage.LIVE

    async def serve(self, receive: Receive, send: Send) -> None:
        """Until either side closes."""
        sender = asyncio.create_task(self._outbox.send_all(send))
        reader = asyncio.create_task(self._read(receive))
        try:
            await asyncio.wait((sender, reader), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sender, reader):
                task.cancel()
            for result in await asyncio.gather(sender, reader, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, (TimeoutError, OSError)):
                    _log.error("a robot's link failed", exc_info=result)

    def tell(self, message: decide.Message) -> None:
        """Lets the session decide about something that did not come over the socket."""
        self._session, effects = decide.step(self._session, message)
        for effect in effects:
            self._put(effect)

    def stored(self, stream: Stream, seq: int) -> None:
        """A batch was committed."""
        self._room.release()
        self.tell(decide.Stored(stream, seq))

    def failed(self, error: LekiwiError) -> None:
        """What came could not be stored: the robot is to come back and send it again."""
        self.tell(decide.Displaced(error.code, f"not stored: {error.message}", error.code != "bad_input"))

    def not_ours(self) -> None:
        """What came was not stored, because this link is the robot's no longer; the endpoint finds out why and ends it."""
        self._context.nudges.local("revoked", self.robot)

    def displaced(self) -> None:
        """Another session is the robot's now."""
        self.tell(decide.Displaced("conflict", "another connection of this robot took over", True))

    async def _read(self, receive: Receive) -> None:
        try:
            async with asyncio.timeout(HELLO_S) as limit:
                while True:
                    event = await receive()
                    if event["type"] == "websocket.disconnect":
                        return
                    await self._take(event)
                    if self.live:
                        limit.reschedule(None)
        except TimeoutError:
            self.tell(decide.Silent())
            await asyncio.Event().wait()  # the sender closes

    async def _take(self, event: MutableMapping[str, Any]) -> None:
        message = _decoded(event)
        self._session, effects = decide.step(self._session, message)
        for effect in effects:
            match effect:
                case do.LookUp(_, hello):
                    await self._claim(effect)
                    self.report = hello.report
                case do.StoreReport(report):
                    before, self.report = self.report, report
                    self._inbox.report(self, report, material=_material(before) != _material(report))
                case do.StoreEvents(records):
                    await self._room.acquire()
                    self._inbox.events(self, records)
                case do.StoreLogs(records, dropped):
                    await self._room.acquire()
                    self._inbox.lines(self, records, dropped)
                case do.IssueTicket(digest):
                    await self._issue(digest)
                case _:
                    self._put(effect)

    def _put(self, effect: do.Effect) -> None:
        match effect:
            case do.Send(message):
                self._outbox.put(message)
            case do.Close(code):
                self._outbox.close(code)
            case (
                do.LookUp()
                | do.TakeOver()
                | do.MarkCloned()
                | do.Contend()
                | do.StoreReport()
                | do.StoreEvents()
                | do.StoreLogs()
                | do.IssueTicket()
            ):
                raise AssertionError(f"{effect} needs the database")
            case never:
                assert_never(never)

    async def _claim(self, look_up: do.LookUp) -> None:
        """Checks a hello and makes this the robot's session, in one transaction that holds the robot's row."""
        later: list[do.Effect] = []
        claiming = self._session
        try:
            async with self._context.database.transaction() as tx:
                facts = await self._facts(tx, look_up.robot)
                self._session, effects = decide.step(claiming, decide.Known(look_up.hello, facts))
                for effect in effects:
                    match effect:
                        case do.TakeOver():
                            await self._take_over(tx, effect, look_up)
                        case do.MarkCloned(robot):
                            await sessions.mark_cloned(tx, robot, self._context.now())
                        case do.Contend(robot, boot):
                            await sessions.contend(tx, robot, boot, self._context.now())
                        case _:
                            later.append(effect)
        except LekiwiError as error:
            self._session = claiming
            self.tell(decide.Displaced(error.code, error.message, error.code != "bad_input"))
            return
        if self.live:
            self.welcomed = True
            self._welcomed_here(self)
        for effect in later:
            self._put(effect)

    async def _take_over(self, tx: Transaction, effect: do.TakeOver, look_up: do.LookUp) -> None:
        hello = look_up.hello
        await sessions.take_over(
            tx,
            effect.robot,
            self.session_id,
            replica=self._context.replica,
            boot=effect.boot,
            boot_before=effect.boot_before,
            agent=hello.agent,
            hostname=hello.hostname,
            platform=hello.platform,
            now=self._context.now(),
        )
        if effect.generation is not None:
            _log.warning(
                "%s knows of a newer desired state than the database: was that restored from a backup? Going on at %d",
                effect.robot,
                effect.generation,
            )
            await sessions.raise_generation(tx, effect.robot, effect.generation)
        new = NewReport(robot=effect.robot, session=self.session_id, report=hello.report)
        await sessions.store_reports(tx, [new], self._context.now())

    async def _facts(self, tx: Transaction, robot: RobotId) -> decide.Facts | None:
        row = await sessions.lock(tx, robot)
        if row is None:
            return None
        self.project = row.project
        (wanted,) = await sessions.desired(tx, [robot])
        variables = await self._context.vault.for_robots(tx, [wanted])
        return decide.Facts(
            project=row.project,
            public_key=row.public_key,
            cloned=row.cloned_at is not None,
            session=row.session,
            boot=row.boot_id,
            previous_boots=row.previous_boots,
            contender=row.contender,
            contended_s=(self._context.now() - row.contender_at).total_seconds() if row.contender_at else 0.0,
            events=row.acked_events,
            logs=row.acked_logs,
            desired=desired_of(self._context, wanted, variables.get(robot)),
            robots=row.robots,
        )

    async def _issue(self, digest: ManifestDigest) -> None:
        try:
            async with self._context.database.transaction() as tx:
                allowed = await sessions.may_have(tx, self.robot, digest)
        except LekiwiError as error:
            self.tell(decide.Displaced(error.code, error.message, True))
            return
        if not allowed:
            self.tell(decide.Displaced("not_allowed", "that content is not for this robot", True))
            return
        ticket = tickets.issue(self._context.ticket_key, self.robot, digest, self._context.now())
        self._put(do.Send(Ticket(digest=digest, ticket=ticket)))

    def wanted(self, row: DesiredRow, variables: SealedVariables | None, *, again: bool = False) -> None:
        """Sends what is wanted of the robot, if that is news to it or it never said that it knows (`again`)."""
        known = self.report.generation if self.report is not None else -1
        again = again and known < row.generation
        self.tell(decide.Wanted(desired_of(self._context, row, variables), again))


def _decoded(event: MutableMapping[str, Any]) -> decide.Message:
    text = event.get("text")
    if text is None:
        return decide.Malformed("frames are text")
    if len(text) > MAX_FRAME:
        return decide.Malformed(f"the frame is longer than {MAX_FRAME} bytes")
    try:
        message: FromRobot = _DECODER.decode(text)
        return message
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return decide.Malformed(str(error)[:300])


def _material(report: Report | None) -> object:
    """What of a report rollouts depend on."""
    if report is None:
        return None
    states = tuple((one.name, one.state) for one in report.services)
    return states, msgspec.structs.replace(report, number=0, services=(), retained=())
