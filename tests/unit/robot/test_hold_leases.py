"""Leases that say "not now": taken, renewed, released, run out."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lekiwi_deploy.errors import BadInput, Conflict, LekiwiError, NotAllowed, NotFound
from lekiwi_deploy.robot import holds
from lekiwi_deploy.robot.holds import Asker, Book, Lease, Lock, Moment
from lekiwi_deploy.wire.encoding import decode, encode

WALL = datetime(2026, 8, 21, 14, 0, tzinfo=UTC)
NOW = Moment("boot-1", 1000.0, WALL)
ANNA, BEN, ROOT = Asker(1000, "anna"), Asker(1001, "ben"), Asker(0, "root", administrator=True)


def later(seconds: float) -> Moment:
    return Moment(NOW.boot, NOW.at + seconds, NOW.wall + timedelta(seconds=seconds))


def taken(book: Book = Book(), asker: Asker = ANNA, now: Moment = NOW, **more: object) -> tuple[Book, Lease]:  # noqa: B008
    asked = {"reason": "teleop", "for_s": 1200.0, "owner": None, "tied": False, "longest_s": holds.LONGEST_S} | more
    return holds.take(book, asker, now, **asked)  # type: ignore[arg-type]


def test_a_lease_names_its_owner_its_reason_and_its_end() -> None:
    _, lease = taken()
    assert (lease.id, lease.owner, lease.reason) == ("h1", "anna", "teleop")
    assert (lease.since, lease.until) == (WALL, WALL + timedelta(minutes=20))
    assert holds.busy(lease.hold(NOW)).until == lease.until


def test_a_lease_runs_out_by_the_clock_of_the_boot_whatever_the_wall_clock_says() -> None:
    book, _ = taken()
    assert holds.live(book, replace(later(1199.9), wall=WALL + timedelta(days=9999))).leases
    assert not holds.live(book, replace(later(1200), wall=WALL - timedelta(days=9999))).leases


def test_the_end_that_is_shown_follows_a_clock_that_was_put_right() -> None:
    _, lease = taken(now=Moment(NOW.boot, NOW.at, datetime(1970, 1, 1, tzinfo=UTC)))
    assert lease.hold(later(600)).until == WALL + timedelta(minutes=20)
    slewed = replace(later(600), wall=later(600).wall + timedelta(seconds=2))
    assert taken()[1].hold(slewed).until == WALL + timedelta(minutes=20)


def test_a_lease_ends_with_the_boot_that_it_was_taken_in() -> None:
    book, _ = taken()
    assert not holds.live(book, Moment("boot-2", 5.0, WALL)).leases


def test_a_lease_without_an_end_must_be_tied_to_a_connection() -> None:
    with pytest.raises(BadInput, match="needs an end"):
        taken(for_s=None)
    book, lease = taken(for_s=None, tied=True)
    assert lease.until is None
    assert holds.next_end_in(book, NOW) is None
    assert not holds.untied(book).leases


@pytest.mark.parametrize("for_s", [0.0, -1.0, math.nan, math.inf, holds.LONGEST_S + 1])
def test_a_span_that_cannot_be_is_refused(for_s: float) -> None:
    with pytest.raises(BadInput):
        taken(for_s=for_s)
    book, _ = taken()
    with pytest.raises(BadInput):
        holds.renew(book, ANNA, NOW, id="h1", for_s=for_s, longest_s=holds.LONGEST_S)


@pytest.mark.parametrize("text", ["", " ", "a\nb", "\x1b[2J", "x" * 201])
def test_texts_that_would_spoil_a_terminal_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        taken(reason=text)
    with pytest.raises(BadInput):
        taken(owner=text)


def test_a_renewed_lease_keeps_its_id_and_its_beginning() -> None:
    book, _ = taken()
    book, lease = holds.renew(book, ANNA, later(600), id="h1", for_s=1200, longest_s=holds.LONGEST_S)
    assert (lease.id, lease.since, lease.until) == ("h1", WALL, WALL + timedelta(minutes=30))
    assert holds.next_end_in(book, later(600)) == 1200


def test_a_lease_that_ran_out_cannot_be_renewed_or_released() -> None:
    book, _ = taken()
    with pytest.raises(NotFound):
        holds.renew(book, ANNA, later(1201), id="h1", for_s=5, longest_s=holds.LONGEST_S)
    with pytest.raises(NotFound):
        holds.release(book, ANNA, later(1201), id="h1")


def test_only_its_owner_and_the_administrator_end_a_lease() -> None:
    book, _ = taken()
    with pytest.raises(NotAllowed, match="anna"):
        holds.release(book, BEN, NOW, id="h1")
    assert holds.release(book, BEN, NOW, id=None)[1] == ()
    assert holds.release(book, ANNA, NOW, id="h1")[1] == ("h1",)
    assert holds.release(book, ROOT, NOW, id=None)[1] == ("h1",)


def test_an_id_is_never_used_twice() -> None:
    book, _ = taken()
    book, _ = holds.release(book, ANNA, NOW, id="h1")
    assert taken(book)[1].id == "h2"


def test_there_is_an_end_to_how_many_leases_there_are() -> None:
    book = Book()
    for _ in range(holds.MOST):
        book, _ = taken(book)
    with pytest.raises(Conflict):
        taken(book)
    assert taken(book, now=later(1300))[1].id == f"h{holds.MOST + 1}"


def test_holds_are_told_oldest_first_whatever_kind_they_are() -> None:
    book, _ = taken(now=later(10))
    book, _ = taken(book, now=later(30))
    lock = Lock("flock (pid 7)", "busy", (7,), NOW.at + 20, WALL)
    assert [hold.id for hold in holds.in_order(book, [lock], later(40))] == ["h1", "p7", "h2"]


@given(st.lists(st.floats(0.001, 1000), max_size=10), st.floats(0, 1100))
def test_the_next_end_is_when_the_first_of_the_live_ones_goes(spans: list[float], passed: float) -> None:
    book = Book()
    for span in spans:
        book, _ = taken(book, for_s=span)
    now = later(passed)
    wait = holds.next_end_in(book, now)
    live = holds.live(book, now).leases
    assert (wait is None) == (not live)
    if wait is not None:
        then = Moment(now.boot, max(lease.ends or 0 for lease in live), now.wall)
        assert len(holds.live(book, later(passed + wait + 1e-6)).leases) < len(live)
        assert not holds.live(book, then).leases


class Books(RuleBasedStateMachine):
    """Any sequence of askers, spans and reboots."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.now, self.used = Book(), NOW, set[str]()

    @rule(who=st.sampled_from([ANNA, BEN]), for_s=st.floats(1, 5000), tied=st.booleans())
    def take(self, who: Asker, for_s: float, tied: bool) -> None:
        self.book, lease = taken(self.book, who, self.now, for_s=for_s, tied=tied)
        assert lease.id not in self.used
        self.used.add(lease.id)

    @rule(who=st.sampled_from([ANNA, BEN, ROOT]), number=st.integers(1, 8))
    def release(self, who: Asker, number: int) -> None:
        before = {lease.id: lease for lease in holds.live(self.book, self.now).leases}
        id = f"h{number}"
        try:
            self.book, _ = holds.release(self.book, who, self.now, id=id)
        except LekiwiError:
            assert id not in before or (who.uid != before[id].uid and not who.administrator)
        else:
            assert id in before

    @rule(seconds=st.floats(0, 3000))
    def pass_time(self, seconds: float) -> None:
        self.now = replace(self.now, at=self.now.at + seconds)

    @rule()
    def reboot(self) -> None:
        self.now = Moment(self.now.boot + "+", 1.0, self.now.wall)
        assert not holds.live(self.book, self.now).leases

    @invariant()
    def survives_being_written_down(self) -> None:
        assert decode(encode(self.book), Book, what="the book") == self.book

    @invariant()
    def no_lease_has_run_out(self) -> None:
        for hold in holds.in_order(self.book, (), self.now):
            assert hold.until is None or next(one for one in self.book.leases if one.id == hold.id).ends > self.now.at  # type: ignore[operator]


TestBooks = Books.TestCase
