"""What robots sent, stored in groups: one commit for whatever came within a few milliseconds, acknowledged after it.

Of reports only the newest of each robot is stored. Log lines have commits of their own, so that a flood of them delays no report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import events, logs, sessions
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.events import NewAck, NewEvent
from lekiwi_deploy.server.store.logs import NewLine
from lekiwi_deploy.server.store.sessions import NewReport
from lekiwi_deploy.wire.ids import ProjectName, RobotId
from lekiwi_deploy.wire.link import EventRecord, LogRecord, Report, Stream

GROUP_S = 0.008
"""How long a group is gathered, in seconds: short against a rollout's confirmation, long against a commit."""
LOG_GROUP_S = 0.05
_log = logging.getLogger("lekiwi.link")


class Sender(Protocol):
    """The link that something came over. `stored` answers one batch; `failed` and `not_ours` end the link."""

    @property
    def robot(self) -> RobotId: ...
    @property
    def session_id(self) -> str: ...
    @property
    def project(self) -> ProjectName: ...
    def stored(self, stream: Stream, seq: int) -> None: ...
    def failed(self, error: LekiwiError) -> None: ...
    def not_ours(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Events:
    sender: Sender
    records: tuple[EventRecord, ...]


@dataclass(frozen=True, slots=True)
class _Lines:
    sender: Sender
    records: tuple[LogRecord, ...]
    dropped: int


class Inbox:
    """Takes reports and records at once; stores them soon."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reports: dict[Sender, tuple[Report, bool]] = {}
        self._events: list[_Events] = []
        self._lines: list[_Lines] = []
        self._state_came, self._lines_came = asyncio.Event(), asyncio.Event()

    def report(self, sender: Sender, report: Report, *, material: bool) -> None:
        """A robot's newest state. `material`: more than its number changed, so rollouts are to be looked at."""
        before = self._reports.pop(sender, None)
        self._reports[sender] = (report, material or (before is not None and before[1]))
        self._state_came.set()

    def events(self, sender: Sender, records: tuple[EventRecord, ...]) -> None:
        """Events that follow those stored of this robot."""
        self._events.append(_Events(sender, records))
        self._state_came.set()

    def lines(self, sender: Sender, records: tuple[LogRecord, ...], dropped: int) -> None:
        """Log lines that follow those stored of this robot, after `dropped` that are lost."""
        self._lines.append(_Lines(sender, records, dropped))
        self._lines_came.set()

    async def run(self) -> None:
        """Stores, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_state())
            tasks.create_task(self._run_lines())

    async def _run_state(self) -> None:
        while True:
            await self._state_came.wait()
            await asyncio.sleep(GROUP_S)
            self._state_came.clear()
            reports, self._reports = self._reports, {}
            new, self._events = self._events, []
            senders = list({*reports, *(one.sender for one in new)})
            await _in_groups(senders, partial(self._store_state, reports, new))

    async def _run_lines(self) -> None:
        while True:
            await self._lines_came.wait()
            await asyncio.sleep(LOG_GROUP_S)
            self._lines_came.clear()
            new, self._lines = self._lines, []
            await _in_groups(list({one.sender for one in new}), partial(self._store_lines, new))

    async def _store_state(
        self, reports: dict[Sender, tuple[Report, bool]], came: list[_Events], senders: Sequence[Sender]
    ) -> None:
        new = [one for one in came if one.sender in senders]
        rows = [
            NewReport(robot=sender.robot, session=sender.session_id, report=report, material=material)
            for sender, (report, material) in reports.items()
            if sender in senders
        ]
        gone: set[str] = set()
        async with self._context.database.transaction() as tx:
            await sessions.lock_all(tx, [sender.robot for sender in senders])
            if rows:
                gone |= await sessions.store_reports(tx, rows, self._context.now())
            if new:
                gone |= await _store_events(tx, new)
        for sender in senders:
            if sender.robot in gone:
                sender.not_ours()
        for one in new:
            if one.sender.robot not in gone:
                one.sender.stored(Stream.EVENTS, one.records[-1].seq)

    async def _store_lines(self, came: list[_Lines], senders: Sequence[Sender]) -> None:
        new = [one for one in came if one.sender in senders]
        acks = {one.sender: one.records[-1].seq for one in new}
        async with self._context.database.transaction() as tx:
            await sessions.lock_all(tx, [sender.robot for sender in acks])
            mine = await logs.acknowledge(
                tx, [NewAck(robot=one.robot, session=one.session_id, seq=seq) for one, seq in acks.items()]
            )
            lines = [line for one in new if one.sender.robot in mine for line in _lines(one)]
            await logs.append(tx, lines, self._context.now())
        for one in new:
            if one.sender.robot in mine:
                one.sender.stored(Stream.LOGS, one.records[-1].seq)
            else:
                one.sender.not_ours()


async def _store_events(tx: Transaction, new: list[_Events]) -> set[str]:
    acks = {one.sender: one.records[-1].seq for one in new}
    return await events.store(
        tx,
        [NewEvent(robot=one.sender.robot, seq=record.seq, event=record.event) for one in new for record in one.records],
        [NewAck(robot=one.robot, session=one.session_id, seq=seq) for one, seq in acks.items()],
    )


def _lines(batch: _Lines) -> list[NewLine]:
    sender, first = batch.sender, batch.records[0].line
    told: list[NewLine] = []
    if batch.dropped:
        text = f"{batch.dropped} lines before this were dropped on the robot"
        told.append(
            NewLine(
                project=sender.project, robot=sender.robot, service="agent", deployment=None, at=first.at, stream="agent", text=text,
                level="warning",
            )
        )  # fmt: skip
    for line in (record.line for record in batch.records):
        told.append(
            NewLine(
                project=sender.project, robot=sender.robot, service=line.service, deployment=line.deployment, at=line.at,
                stream=line.stream, text=line.text, level=line.level,
            )
        )  # fmt: skip
    return told


async def _in_groups(senders: Sequence[Sender], store: Callable[[Sequence[Sender]], Awaitable[None]]) -> None:
    """Stores for all `senders` in one commit; when that fails for what they sent, for each alone, so that one spoils nothing for others."""
    try:
        await store(senders)
    except LekiwiError as error:
        if error.code == "bad_input" and len(senders) > 1:
            for sender in senders:
                await _in_groups([sender], store)
            return
        _log.warning("what %d robots sent was not stored: %s", len(senders), error.message)
        for sender in senders:
            sender.failed(error)
    except Exception as error:
        _log.exception("what %d robots sent could not be stored", len(senders))
        for sender in senders:
            sender.failed(LekiwiError(f"it could not be stored: {type(error).__name__}", code="internal"))
