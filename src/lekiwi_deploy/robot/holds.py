"""Who said "not now", and until when: leases in a book, and locks of a file.

A lease has an owner, a reason and an end that counts in seconds since boot (CLOCK_BOOTTIME), so that no step of the wall clock ends it
early or late; the wall clock is only shown. It ends with the boot that it was taken in: what it protected is over then. Nothing here
does I/O: the agent writes the book down before it tells anybody that a lease is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from lekiwi_deploy.errors import BadInput, Conflict, NotAllowed, NotFound
from lekiwi_deploy.wire.holds import Hold
from lekiwi_deploy.wire.reasons import Busy

LONGEST_S = 86400.0
"""The longest time that a lease may have to run, unless the robot's agent.json says otherwise."""
MOST = 100
"""Leases at once: a program that takes them in a loop fills no disk."""
MAX_OWNER, MAX_REASON = 60, 200
_DRIFT = timedelta(seconds=5)
"""Clocks that are put right little by little make no end of a hold look like another one."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease. `uid`: whose it is; `boot`, `taken`, `ends`: kernel boot id and seconds of CLOCK_BOOTTIME in it; `ends` None: with its
    connection. `since`, `until`: wall clock, for showing."""

    id: str
    owner: str
    reason: str
    uid: int
    boot: str
    taken: float
    ends: float | None
    since: datetime
    until: datetime | None
    tied: bool = False

    def hold(self, now: Moment) -> Hold:
        """As it is told. `until` follows the wall clock when that was set meanwhile."""
        until = self.until
        if self.ends is not None and until is not None:
            there = now.wall + timedelta(seconds=self.ends - now.at)
            until = until if abs(there - until) < _DRIFT else there
        return Hold(
            id=self.id,
            owner=self.owner,
            reason=self.reason,
            since=self.since,
            until=until,
            kind="tied" if self.tied else "lease",
        )


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All leases, oldest first. `last`: the newest number, which is never used again."""

    schema: int = 1
    last: int = 0
    leases: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Lock:
    """Somebody holds the lock of the busy file. `pids`: those that have it, at least one if it is known; `seen`: seconds of
    CLOCK_BOOTTIME at which the agent saw it first, `since` the wall clock then."""

    owner: str
    reason: str
    pids: tuple[int, ...]
    seen: float
    since: datetime

    def hold(self) -> Hold:
        """As it is told."""
        id = f"p{self.pids[0]}" if self.pids else "lock"
        return Hold(
            id=id, owner=self.owner, reason=self.reason, since=self.since, until=None, kind="lock", pids=self.pids
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: by the boot's clock, and by the wall clock for showing."""

    boot: str
    at: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. `name`: the service or user; `administrator`: may end what others hold."""

    uid: int
    name: str
    administrator: bool = False


def take(
    book: Book,
    asker: Asker,
    now: Moment,
    *,
    reason: str,
    for_s: float | None,
    owner: str | None,
    tied: bool,
    longest_s: float,
) -> tuple[Book, Lease]:
    """A new lease. Raises `BadInput` for texts and spans that cannot be, `Conflict` when there are too many already."""
    reason = _text("reason", reason, MAX_REASON)
    owner = _text("owner", asker.name if owner is None else owner, MAX_OWNER)
    if for_s is None and not tied:
        raise BadInput("a hold needs an end: say for how long (for_s), or tie it to the connection (tied)")
    if for_s is not None:
        _check_span(for_s, longest_s)
    book = live(book, now)
    if len(book.leases) >= MOST:
        raise Conflict(
            f"there are {MOST} holds on this robot already", next=("lekiwi-agent holds", "lekiwi-agent release --all")
        )
    number = book.last + 1
    lease = Lease(
        id=f"h{number}",
        owner=owner,
        reason=reason,
        uid=asker.uid,
        boot=now.boot,
        taken=now.at,
        ends=None if for_s is None else now.at + for_s,
        since=now.wall,
        until=None if for_s is None else now.wall + timedelta(seconds=for_s),
        tied=tied,
    )
    return Book(last=number, leases=(*book.leases, lease)), lease


def renew(book: Book, asker: Asker, now: Moment, *, id: str, for_s: float, longest_s: float) -> tuple[Book, Lease]:
    """The lease ends `for_s` seconds from now. Raises `NotFound` (it has ended), `NotAllowed`, `BadInput`."""
    _check_span(for_s, longest_s)
    book = live(book, now)
    lease = _of(book, asker, id)
    longer = msgspec.structs.replace(lease, ends=now.at + for_s, until=now.wall + timedelta(seconds=for_s))
    leases = tuple(longer if one.id == id else one for one in book.leases)
    return msgspec.structs.replace(book, leases=leases), longer


def release(book: Book, asker: Asker, now: Moment, *, id: str | None) -> tuple[Book, tuple[str, ...]]:
    """Without the lease `id`, or (None) without all that `asker` may end; and which those are. Raises `NotFound`, `NotAllowed`."""
    book = live(book, now)
    mine = [_of(book, asker, id)] if id is not None else [lease for lease in book.leases if _may(asker, lease)]
    ended = tuple(lease.id for lease in mine)
    return without(book, ended), ended


def without(book: Book, ids: Iterable[str]) -> Book:
    """`book` without these."""
    gone = frozenset(ids)
    return msgspec.structs.replace(book, leases=tuple(lease for lease in book.leases if lease.id not in gone))


def live(book: Book, now: Moment) -> Book:
    """`book` without leases that have run out, or were taken in another boot."""
    leases = tuple(
        lease for lease in book.leases if lease.boot == now.boot and (lease.ends is None or lease.ends > now.at)
    )
    return book if len(leases) == len(book.leases) else msgspec.structs.replace(book, leases=leases)


def untied(book: Book) -> Book:
    """`book` after the agent's end: leases that were tied to a connection are over with it."""
    return without(book, [lease.id for lease in book.leases if lease.tied])


def next_end_in(book: Book, now: Moment) -> float | None:
    """Seconds until the first lease runs out; None: none does by itself."""
    ends = [lease.ends - now.at for lease in live(book, now).leases if lease.ends is not None]
    return min(ends, default=None)


def in_order(book: Book, locks: Iterable[Lock], now: Moment) -> tuple[Hold, ...]:
    """All holds, oldest first."""
    found = [(lease.taken, lease.hold(now)) for lease in live(book, now).leases]
    found += [(lock.seen, lock.hold()) for lock in locks]
    return tuple(hold for _, hold in sorted(found, key=lambda one: one[0]))


def busy(hold: Hold) -> Busy:
    """Why a switch waits for it."""
    return Busy(owner=hold.owner, why=hold.reason, since=hold.since, until=hold.until, id=hold.id)


def _of(book: Book, asker: Asker, id: str) -> Lease:
    for lease in book.leases:
        if lease.id == id:
            if not _may(asker, lease):
                raise NotAllowed(
                    f"{id} is held by {lease.owner}: only they and the robot's administrator (sudo) may end it"
                )
            return lease
    raise NotFound(f"there is no hold {id[:20]!r}: it may have ended", next=("lekiwi-agent holds",))


def _may(asker: Asker, lease: Lease) -> bool:
    return asker.administrator or asker.uid == lease.uid


def _check_span(for_s: float, longest_s: float) -> None:
    if not (math.isfinite(for_s) and for_s > 0):
        raise BadInput(f"a hold lasts for a time above 0, not {for_s:g} s")
    if for_s > longest_s:
        raise BadInput(f"a hold may last {longest_s:g} s at most on this robot, not {for_s:g} s: take it and renew it")


def _text(what: str, text: str, most: int) -> str:
    text = text.strip()
    if not text or len(text) > most or not text.isprintable():
        raise BadInput(f"the {what} of a hold is a line of 1 to {most} printable characters")
    return text
