"""A robot's session, message by message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from nacl.signing import SigningKey

from lekiwi_deploy.fleet import link_effects as do
from lekiwi_deploy.fleet.link import (
    PATIENCE_S,
    Contended,
    Displaced,
    Draining,
    Facts,
    Known,
    Malformed,
    Session,
    Silent,
    Stage,
    Stored,
    Wanted,
    opened,
    reconnect_max_s,
    step,
)
from lekiwi_deploy.wire.assertion import Claims, sign
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import EnvironmentName, ManifestDigest, RobotId
from lekiwi_deploy.wire.link import (
    Ack,
    Challenge,
    Desired,
    Event,
    EventRecord,
    EventRecords,
    Goodbye,
    Hello,
    LogLine,
    LogRecord,
    LogRecords,
    Phase,
    Refused,
    Report,
    Stream,
    TicketPlease,
    Welcome,
)
from lekiwi_deploy.wire.platforms import Platform

KEY = SigningKey(b"k" * 32)
PUBLIC = bytes(KEY.verify_key)
AT = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
KIWI = RobotId("kiwi")


def report(number: int = 1, generation: int = 3) -> Report:
    return Report(number=number, epoch=1, generation=generation, phase=Phase.IDLE)


def hello(
    session: Session, *, protocol: int = 1, boot: str = "boot-a", robot: str = KIWI, key: bytes = b"k" * 32, **more: Any
) -> Hello:
    claims = Claims(iss=RobotId(robot), aud=session.server, nonce=session.nonce, boot=boot)
    given = {"agent": "0.1", "hostname": "kiwi", "report": report(), **more}
    return Hello(
        protocol=protocol,
        token=sign(claims, key),
        platform=Platform("linux", "x86_64", "glibc", "2.36", "3.11"),
        last={},
        **given,
    )


def desired(generation: int = 3, epoch: int = 1) -> Desired:
    return Desired(epoch=epoch, generation=generation, environment=EnvironmentName("production"))


def facts(**more: Any) -> Facts:
    known = Facts(
        project="web",
        public_key=PUBLIC,
        cloned=False,
        session=None,
        boot=None,
        previous_boots=(),
        events=0,
        logs=0,
        desired=desired(),
        robots=15,
    )
    return msgspec.structs.replace(known, **more)


def fresh() -> Session:
    session, effects = opened("ses_x", "srv_x", "nonce")
    (sent,) = effects
    assert isinstance(sent, do.Send)
    assert isinstance(sent.message, Challenge)
    return session


def claim(known: Facts | None, **more: Any) -> tuple[Session, tuple[do.Effect, ...]]:
    session = fresh()
    said = hello(session, **more)
    session, effects = step(session, said)
    assert effects == (do.LookUp(KIWI, said),)
    return step(session, Known(said, known))


def live(**more: Any) -> Session:
    session, _ = claim(facts(**more))
    assert session.stage is Stage.LIVE
    return session


def refused(effects: tuple[do.Effect, ...]) -> Refused:
    *_, sent, closed = effects
    assert closed == do.Close(do.POLICY)
    assert isinstance(sent, do.Send)
    assert isinstance(sent.message, Refused)
    return sent.message


def event(*numbers: int) -> EventRecords:
    return EventRecords(tuple(EventRecord(number, Event(at=AT, kind="started", text="x")) for number in numbers))


def lines(*numbers: int, dropped: int = 0) -> LogRecords:
    made = LogLine(at=AT, service="web", deployment=None, stream="out", text="x")
    return LogRecords(tuple(LogRecord(number, made) for number in numbers), dropped)


def test_a_known_robot_with_the_right_key_is_welcomed_with_what_is_wanted_and_acknowledged() -> None:
    session, effects = claim(facts(events=7, logs=9))
    take, welcome = effects
    assert take == do.TakeOver(KIWI, "boot-a", None)
    assert isinstance(welcome, do.Send)
    assert isinstance(welcome.message, Welcome)
    assert welcome.message.acked == {Stream.EVENTS: 7, Stream.LOGS: 9}
    assert welcome.message.desired == desired()
    assert (session.events, session.logs, session.report) == (7, 9, 1)


@pytest.mark.parametrize(
    ("known", "code"),
    [(None, "unauthenticated"), (facts(public_key=None), "unauthenticated"), (facts(cloned=True), "not_allowed")],
)
def test_who_is_not_known_or_marked_is_refused(known: Facts | None, code: str) -> None:
    session, effects = claim(known)
    assert session.stage is Stage.CLOSED
    assert refused(effects).code == code


def test_another_key_is_refused() -> None:
    assert refused(claim(facts(), key=b"x" * 32)[1]).code == "unauthenticated"


@pytest.mark.parametrize(
    "more",
    [
        {"protocol": 0}, {"protocol": 2}, {"robot": "../kiwi"}, {"robot": "Kiwi"}, {"boot": ""}, {"boot": "b" * 65},
        {"hostname": "h" * 256}, {"report": report(2**60)}, {"report": report(-1)},
    ],
)  # fmt: skip
def test_a_hello_that_cannot_be_is_refused_before_anything_is_looked_up(more: dict[str, Any]) -> None:
    session = fresh()
    session, effects = step(session, hello(session, **more))
    assert session.stage is Stage.CLOSED
    refused(effects)


def test_the_same_boot_again_takes_its_own_dead_link_over() -> None:
    session, effects = claim(facts(session="ses_old", boot="boot-a"))
    assert session.stage is Stage.LIVE
    assert effects[0] == do.TakeOver(KIWI, "boot-a", None)


def test_a_new_boot_without_a_live_link_is_a_reboot() -> None:
    _, effects = claim(facts(boot="boot-0", previous_boots=("boot-z",)))
    assert effects[0] == do.TakeOver(KIWI, "boot-a", "boot-0")


def test_a_new_boot_beside_a_live_link_has_to_wait_while_that_one_is_asked() -> None:
    session, effects = claim(facts(session="ses_old", boot="boot-0"))
    assert session.stage is Stage.CLOSED
    assert effects[0] == do.Contend(KIWI, "boot-a")
    assert refused(effects).retry
    waiting = facts(session="ses_old", boot="boot-0", contender="boot-a", contended_s=PATIENCE_S / 2)
    assert refused(claim(waiting)[1]).retry
    waiting = msgspec.structs.replace(waiting, session=None)
    assert claim(waiting)[0].stage is Stage.CLOSED
    patient = msgspec.structs.replace(waiting, session="ses_old", contended_s=PATIENCE_S)
    assert claim(patient)[0].stage is Stage.LIVE


def test_the_old_boot_that_comes_back_while_another_contends_proves_a_clone() -> None:
    _, effects = claim(facts(boot="boot-a", contender="boot-b", contended_s=1.0))
    assert effects[0] == do.MarkCloned(KIWI)
    assert not refused(effects).retry


def test_an_earlier_boot_that_comes_back_proves_a_clone() -> None:
    _, effects = claim(facts(boot="boot-b", previous_boots=("boot-c", "boot-a")))
    assert effects[0] == do.MarkCloned(KIWI)


def test_a_robot_that_knows_more_than_the_database_is_numbered_above_that() -> None:
    session, effects = claim(facts(desired=desired(3)), report=report(generation=9))
    assert effects[0] == do.TakeOver(KIWI, "boot-a", None, 10)
    assert isinstance(effects[1], do.Send)
    assert isinstance(effects[1].message, Welcome)
    assert effects[1].message.desired == desired(10)
    assert session.told == (1, 10)
    _, effects = claim(facts(desired=desired(3, epoch=2)), report=report(generation=9))
    assert effects[0] == do.TakeOver(KIWI, "boot-a", None)


def test_a_contended_link_is_asked_to_come_back() -> None:
    session, effects = step(live(), Contended())
    assert session.stage is Stage.CLOSED
    assert isinstance(effects[0], do.Send)
    assert isinstance(effects[0].message, Goodbye)


def test_reports_count_in_order_and_once() -> None:
    session = live()
    session, effects = step(session, report(5))
    assert effects == (do.StoreReport(report(5)),)
    for number in (5, 4, 1):
        assert step(session, report(number))[1] == ()


def test_records_are_stored_once_and_acknowledged_after_they_were() -> None:
    session = live(events=2)
    session, effects = step(session, event(1, 2))
    assert effects == (do.Send(Ack(Stream.EVENTS, 2)),)
    session, effects = step(session, event(2, 3, 4))
    assert effects == (do.StoreEvents(event(3, 4).records),)
    assert step(session, Stored(Stream.EVENTS, 4))[1] == (do.Send(Ack(Stream.EVENTS, 4)),)
    session, effects = step(session, lines(1, 2, dropped=3))
    assert effects == (do.StoreLogs(lines(1, 2).records, 3),)
    assert step(session, EventRecords(()))[1] == ()


@pytest.mark.parametrize("numbers", [(2, 1), (1, 1), (0,), (-5, 1), (2**60,), (3, 4, 4)])
def test_numbers_that_do_not_rise_end_the_link_and_may_be_sent_again(numbers: tuple[int, ...]) -> None:
    for message in (event(*numbers), lines(*numbers)):
        session, effects = step(live(), message)
        assert session.stage is Stage.CLOSED
        assert refused(effects).retry


def test_a_desired_state_is_sent_when_it_is_news() -> None:
    session = live()
    assert step(session, Wanted(desired(3)))[1] == ()
    session, effects = step(session, Wanted(desired(4)))
    assert effects == (do.Send(desired(4)),)
    assert step(session, Wanted(desired(3)))[1] == ()
    assert step(session, Wanted(desired(4), again=True))[1] == (do.Send(desired(4)),)
    assert step(session, Wanted(desired(1, epoch=2)))[1] == (do.Send(desired(1, epoch=2)),)


def test_a_ticket_is_asked_for_a_digest() -> None:
    digest = ManifestDigest("a" * 64)
    assert step(live(), TicketPlease(digest))[1] == (do.IssueTicket(digest),)
    refused(step(live(), TicketPlease(ManifestDigest("../x")))[1])


@pytest.mark.parametrize(
    "message", [report(9), event(1), lines(1), TicketPlease(ManifestDigest("a" * 64)), Stored(Stream.LOGS, 1)]
)
def test_nothing_counts_before_the_hello_and_the_welcome(message: Any) -> None:
    session, effects = step(fresh(), message)
    assert session.stage is Stage.CLOSED
    refused(effects)
    session = fresh()
    session, _ = step(session, hello(session))
    assert step(session, message)[0].stage is Stage.CLOSED


def test_a_second_hello_silence_and_nonsense_end_the_link() -> None:
    session = live()
    for message in (hello(session), Silent(), Malformed("x"), Displaced("conflict", "taken", True)):
        ended, effects = step(session, message)
        assert ended.stage is Stage.CLOSED
        refused(effects)
        assert step(ended, report(99)) == (ended, ())


def test_a_stopping_server_tells_when_to_come_back() -> None:
    session, effects = step(live(), Draining(1.5))
    assert session.stage is Stage.CLOSED
    assert isinstance(effects[0], do.Send)
    assert effects[0].message == Goodbye(why="the server restarts", after_s=1.5)


def test_the_way_back_grows_with_the_fleet() -> None:
    assert [reconnect_max_s(robots) for robots in (1, 500, 2000, 10**6)] == [5.0, 5.0, 20.0, 300.0]


@given(
    st.lists(
        st.lists(st.integers(1, 40), max_size=6).map(sorted).map(lambda numbers: sorted(set(numbers))), max_size=12
    )
)
def test_whatever_is_sent_again_each_record_is_stored_once_and_in_order(batches: list[list[int]]) -> None:
    session, stored = live(), []
    for numbers in batches:
        session, effects = step(session, event(*numbers))
        for effect in effects:
            if isinstance(effect, do.StoreEvents):
                stored += [record.seq for record in effect.records]
    assert stored == sorted(set(stored))
    assert session.events == (stored[-1] if stored else 0)


class LinkMachine(RuleBasedStateMachine):
    """A link that is sent anything, in any order: its state stays small, what it acknowledges was stored, closed is final."""

    def __init__(self) -> None:
        super().__init__()
        self.session = fresh()
        self.stored = {Stream.EVENTS: 0, Stream.LOGS: 0}
        self.taken = {Stream.EVENTS: 0, Stream.LOGS: 0}
        self.told = (1, 3)
        self.number = 1

    def send(self, message: Any) -> None:
        was_closed = self.session.stage is Stage.CLOSED
        before = self.session
        self.session, effects = step(self.session, message)
        if was_closed:
            assert (self.session, effects) == (before, ())
        for at, effect in enumerate(effects):
            match effect:
                case do.StoreEvents(records) | do.StoreLogs(records, _):
                    stream = Stream.EVENTS if isinstance(effect, do.StoreEvents) else Stream.LOGS
                    assert records[0].seq > self.taken[stream]
                    self.taken[stream] = records[-1].seq
                case do.StoreReport(made):
                    assert made.number > self.number
                    self.number = made.number
                case do.Send(Ack(stream, seq)):
                    assert seq <= max(self.stored[stream], self.taken[stream])
                case do.Send(Desired() as sent):
                    assert (sent.epoch, sent.generation) >= self.told
                    self.told = (sent.epoch, sent.generation)
                case do.Close():
                    assert at == len(effects) - 1
                    assert self.session.stage is Stage.CLOSED
                case _:
                    pass

    @rule()
    @precondition(lambda self: self.session.stage is Stage.CHALLENGED)
    def greet(self) -> None:
        said = hello(self.session)
        self.send(said)
        self.send(Known(said, facts()))

    @rule(numbers=st.lists(st.integers(0, 9), max_size=3), logs=st.booleans())
    def records(self, numbers: list[int], logs: bool) -> None:
        self.send(lines(*sorted(numbers)) if logs else event(*sorted(numbers)))

    @rule(stream=st.sampled_from(Stream))
    def commit(self, stream: Stream) -> None:
        self.stored[stream] = self.taken[stream]
        self.send(Stored(stream, self.stored[stream]))

    @rule(number=st.integers(0, 9))
    def say(self, number: int) -> None:
        self.send(report(number))

    @rule(generation=st.integers(1, 9), epoch=st.integers(1, 2))
    def want(self, generation: int, epoch: int) -> None:
        self.send(Wanted(desired(generation, epoch)))

    @rule(
        message=st.sampled_from(
            [Malformed("x"), Silent(), Draining(1.0), Displaced("conflict", "x", True), Contended()]
        )
    )
    @precondition(lambda self: self.session.stage is Stage.LIVE)
    def end(self, message: Any) -> None:
        self.send(message)

    @invariant()
    def the_state_is_small(self) -> None:
        assert len(encode(self.session)) < 2048


LinkMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLinks = LinkMachine.TestCase


def test_the_largest_session_encodes_to_less_than_2_kb() -> None:
    large = Session(
        id="s" * 64, server="s" * 64, nonce="n" * 64, stage=Stage.CHALLENGED, robot=RobotId("r" * 50), boot="b" * 64,
        report=2**53, events=2**53, logs=2**53, told=(2**53, 2**53),
    )  # fmt: skip
    assert len(encode(large)) < 2048
