"""One robot's link: `(session, message) -> (session, effects)`. The socket carries out the effects and decides nothing.

A clone is proved by a boot id that comes back: a machine never returns to an earlier one. Whoever greets with another boot id while a
link is live has to wait, and that link is asked to come back: if it does, two machines use the key, and both are refused; if it does
not, it was a leftover of a robot that rebooted or lost power, which is then let in and never mistaken for a clone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

import msgspec

from lekiwi_deploy.errors import LekiwiError, Unauthenticated
from lekiwi_deploy.fleet import link_effects as do
from lekiwi_deploy.wire import assertion
from lekiwi_deploy.wire.ids import RobotId, checked_name, is_digest
from lekiwi_deploy.wire.link import (
    Ack,
    Challenge,
    Desired,
    EventRecord,
    EventRecords,
    FromRobot,
    Goodbye,
    Hello,
    LogRecord,
    LogRecords,
    Report,
    Stream,
    TicketPlease,
    Welcome,
)
from lekiwi_deploy.wire.protocol import OLDEST_UNDERSTOOD, PROTOCOL

PATIENCE_S = 5.0
"""How long a newcomer waits for the robot whose link is live to show that it is."""
_LARGEST = 2**53
_LONGEST_NAME = 255
_BOOT = 64


class Stage(StrEnum):
    """Where a session stands; `closed` is final."""

    CHALLENGED = "challenged"  # the robot is to say hello
    CLAIMING = "claiming"  # its hello is being checked against what is known of it
    LIVE = "live"
    CLOSED = "closed"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of one link; encodes to well under 2 kB. `report`: newest number taken; `events`, `logs`: newest sequence
    numbers taken in; `told`: epoch and generation last sent; `agent`: the number of what was wanted of its agent then, 0: nothing."""

    id: str
    server: str
    nonce: str
    stage: Stage = Stage.CHALLENGED
    robot: RobotId | None = None
    boot: str = ""
    report: int = 0
    events: int = 0
    logs: int = 0
    told: tuple[int, int] = (0, -1)
    agent: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a robot when it says hello. `session`: its link that is thought to be live; `boot`, `previous_boots`: the boot
    ids it came with before; `contender`: one that has waited for `contended_s` seconds since it greeted beside a live link; `robots`:
    how many the server has in all."""

    project: str
    public_key: bytes | None
    cloned: bool
    session: str | None
    boot: str | None
    previous_boots: tuple[str, ...]
    contender: str | None = None
    contended_s: float = 0.0
    events: int
    logs: int
    desired: Desired
    robots: int


class Known(msgspec.Struct, frozen=True):
    """The answer to `LookUp`: the hello again, and what is known (None: no such robot)."""

    hello: Hello
    facts: Facts | None


class Malformed(msgspec.Struct, frozen=True):
    """Something arrived that is no message."""

    why: str


class Silent(msgspec.Struct, frozen=True):
    """No hello came in time."""


class Stored(msgspec.Struct, frozen=True):
    """Records up to `seq` are committed."""

    stream: Stream
    seq: int


class Wanted(msgspec.Struct, frozen=True):
    """The robot's desired state as it is now. `again`: send it even when it was sent before."""

    desired: Desired
    again: bool = False


class Displaced(msgspec.Struct, frozen=True):
    """This link may not go on: another one took its place, or the robot was removed or its key found cloned."""

    code: str
    why: str
    retry: bool


class Contended(msgspec.Struct, frozen=True):
    """Another machine greeted with this robot's key: the robot is to come back, which proves that it is alive."""


class Draining(msgspec.Struct, frozen=True):
    """The server is about to close; the robot is to come back after `after_s`."""

    after_s: float


Message = FromRobot | Known | Malformed | Silent | Stored | Wanted | Displaced | Contended | Draining
Step = tuple[Session, tuple[do.Effect, ...]]


def opened(id: str, server: str, nonce: str) -> Step:
    """A new link; `id` and `nonce` are fresh random texts."""
    return Session(id=id, server=server, nonce=nonce), (
        do.Send(Challenge(protocol=PROTOCOL, server=server, nonce=nonce)),
    )


def step(session: Session, message: Message) -> Step:
    """What `message` does to the link."""
    if session.stage is Stage.CLOSED:
        return session, ()
    match message:
        case Malformed(why):
            return _refuse(session, "bad_input", f"that is no message of the link: {why}", retry=False)
        case Displaced(code, why, retry):
            return _refuse(session, code, why, retry=retry)
        case Draining(after_s):
            bye = Goodbye(why="the server restarts", after_s=after_s)
            return _closed(session), (do.Send(bye), do.Close(do.GOING_AWAY))
        case Contended():
            bye = Goodbye(why="another machine greeted with this robot's key", after_s=0.0)
            return _closed(session), (do.Send(bye), do.Close(do.GOING_AWAY))
        case Silent():
            return _refuse(session, "timed_out", "no hello came", retry=True)
    if session.stage is Stage.CHALLENGED:
        if isinstance(message, Hello):
            return _hello(session, message)
        return _refuse(session, "bad_input", "the first message must be hello", retry=False)
    if session.stage is Stage.CLAIMING:
        if isinstance(message, Known):
            return _claim(session, message.hello, message.facts)
        return _refuse(session, "bad_input", "wait for the welcome before sending more", retry=False)
    return _live(session, message)


def _live(session: Session, message: Message) -> Step:
    match message:
        case Report():
            return _report(session, message)
        case EventRecords(records):
            return _events(session, records)
        case LogRecords(records, dropped):
            return _logs(session, records, dropped)
        case TicketPlease(digest):
            if not is_digest(digest):
                return _refuse(session, "bad_input", "a ticket is asked for what is no digest", retry=False)
            return session, (do.IssueTicket(digest),)
        case Stored(stream, seq):
            return session, (do.Send(Ack(stream, seq)),)
        case Wanted(desired, again):
            told, agent = (desired.epoch, desired.generation), _agent(desired)
            if not again and (told < session.told or (told, agent) == (session.told, session.agent)):
                return session, ()
            return msgspec.structs.replace(session, told=max(told, session.told), agent=agent), (do.Send(desired),)
        case _:
            return _refuse(session, "bad_input", "that message does not belong here", retry=False)


def _hello(session: Session, hello: Hello) -> Step:
    if not OLDEST_UNDERSTOOD <= hello.protocol <= PROTOCOL:
        older = hello.protocol < OLDEST_UNDERSTOOD
        return _refuse(
            session,
            "conflict",
            f"this server speaks protocol {OLDEST_UNDERSTOOD} to {PROTOCOL}, the robot {hello.protocol}: "
            f"upgrade {'lekiwi-agent on the robot' if older else 'the server'}",
            retry=True,
        )
    if max(len(hello.agent), len(hello.hostname)) > _LONGEST_NAME or not _sane(hello.report):
        return _refuse(session, "bad_input", "hello holds numbers or names that are too large", retry=False)
    try:
        claims = assertion.read_unverified(hello.token)
        checked_name("a robot", claims.iss)
    except LekiwiError as error:
        return _refuse(session, "unauthenticated", error.message, retry=False)
    if not claims.boot or len(claims.boot) > _BOOT:
        return _refuse(session, "unauthenticated", "the robot's token names no boot id", retry=False)
    claiming = msgspec.structs.replace(session, stage=Stage.CLAIMING, robot=claims.iss, boot=claims.boot)
    return claiming, (do.LookUp(claims.iss, hello),)


def _claim(session: Session, hello: Hello, facts: Facts | None) -> Step:
    assert session.robot is not None
    if facts is None or facts.public_key is None:
        message = f"no robot {session.robot!r} is enrolled here with this key"
        return _refuse(session, "unauthenticated", message, retry=False)
    try:
        assertion.verify(hello.token, facts.public_key, server=session.server, nonce=session.nonce)
    except Unauthenticated as error:
        return _refuse(session, error.code, error.message, retry=False)
    cloned = "two machines use this robot's key: remove the robot and join it again"
    if facts.cloned:
        return _refuse(session, "not_allowed", cloned, retry=False)
    another = facts.boot is not None and facts.boot != session.boot
    returned = facts.contender is not None and not another
    if session.boot in facts.previous_boots or returned:
        closed, effects = _refuse(session, "not_allowed", cloned, retry=False)
        return closed, (do.MarkCloned(session.robot), *effects)
    waits = facts.contender == session.boot
    if another and (facts.contended_s < PATIENCE_S if waits else facts.session is not None):
        why = "another machine is connected with this robot's key: it is asked whether it is still there"
        closed, effects = _refuse(session, "conflict", why, retry=True)
        return closed, effects if waits else (do.Contend(session.robot, session.boot), *effects)
    acked = {Stream.EVENTS: facts.events, Stream.LOGS: facts.logs}
    desired, ahead = _ahead(facts.desired, hello.report)
    welcome = Welcome(
        robot=session.robot,
        project=facts.project,
        acked=acked,
        desired=desired,
        reconnect_max_s=reconnect_max_s(facts.robots),
    )
    live = msgspec.structs.replace(
        session,
        stage=Stage.LIVE,
        report=hello.report.number,
        events=facts.events,
        logs=facts.logs,
        told=(desired.epoch, desired.generation),
        agent=_agent(desired),
    )
    take = do.TakeOver(
        session.robot, session.boot, facts.boot if another else None, desired.generation if ahead else None
    )
    return live, (take, do.Send(welcome))


def _ahead(desired: Desired, report: Report) -> tuple[Desired, bool]:
    """What is wanted, numbered above what the robot knows; and whether the robot knows more than we ever said, which means that the
    database was restored from a backup: without a higher number the robot would refuse everything as old."""
    if report.epoch != desired.epoch or report.generation <= desired.generation:
        return desired, False
    return msgspec.structs.replace(desired, generation=report.generation + 1), True


def _agent(desired: Desired) -> int:
    return desired.agent.attempt if desired.agent is not None else 0


def reconnect_max_s(robots: int) -> float:
    """The upper bound of robots' back-off, in seconds: a hundred come back in each."""
    return min(300.0, max(5.0, robots / 100))


def _report(session: Session, report: Report) -> Step:
    if not _sane(report):
        return _refuse(session, "bad_input", "the report holds numbers that are too large", retry=False)
    if report.number <= session.report:
        return session, ()
    return msgspec.structs.replace(session, report=report.number), (do.StoreReport(report),)


def _events(session: Session, records: Sequence[EventRecord]) -> Step:
    numbers = [record.seq for record in records]
    if wrong := _disorder(Stream.EVENTS, numbers):
        return _refuse(session, "bad_input", wrong, retry=True)
    new = sum(number > session.events for number in numbers)
    if not new:
        return session, (do.Send(Ack(Stream.EVENTS, session.events)),) if records else ()
    return msgspec.structs.replace(session, events=numbers[-1]), (do.StoreEvents(tuple(records[-new:])),)


def _logs(session: Session, records: Sequence[LogRecord], dropped: int) -> Step:
    numbers = [record.seq for record in records]
    if wrong := _disorder(Stream.LOGS, numbers):
        return _refuse(session, "bad_input", wrong, retry=True)
    new = sum(number > session.logs for number in numbers)
    if not new:
        return session, (do.Send(Ack(Stream.LOGS, session.logs)),) if records else ()
    taken = msgspec.structs.replace(session, logs=numbers[-1])
    return taken, (do.StoreLogs(tuple(records[-new:]), max(0, dropped)),)


def _disorder(stream: Stream, numbers: Sequence[int]) -> str:
    """What is wrong with the numbers of a batch: they rise. Gaps are no fault: a robot sets numbers aside so that none is used twice
    after a power cut, and says itself how many lines it dropped."""
    if numbers and (numbers[0] < 1 or numbers[-1] > _LARGEST):
        return f"the numbers of the {stream} are not between 1 and {_LARGEST}"
    if any(after <= before for before, after in pairwise(numbers)):
        return f"the numbers of the {stream} do not rise"
    return ""


def _sane(report: Report) -> bool:
    numbers = (report.number, report.epoch, report.generation)
    return all(0 <= number <= _LARGEST for number in numbers) and len(report.retained) <= 1000


def _closed(session: Session) -> Session:
    return msgspec.structs.replace(session, stage=Stage.CLOSED)


def _refuse(session: Session, code: str, message: str, *, retry: bool) -> Step:
    return _closed(session), do.refusal(code, message, retry=retry)
