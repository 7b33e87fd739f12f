"""What programs on a robot say to its agent at /run/lekiwi/hold.sock: "not now", for how long, and why.

One JSON line each way, any number of them over one connection. Language-neutral: see docs/robot-contract.md, "Not now".
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class HoldPlease(msgspec.Struct, frozen=True, kw_only=True, tag="hold", tag_field="ask"):
    """Do not switch for `for_s` seconds, at most as long as the robot allows; or, `tied`, as long as this connection stands (then without
    `for_s`, if you like). `owner` None: the name of the service or user that asks. Answered by `Lease`."""

    reason: str
    for_s: float | None = None
    owner: str | None = None
    tied: bool = False


class RenewPlease(msgspec.Struct, frozen=True, kw_only=True, tag="renew", tag_field="ask"):
    """The lease `id` ends `for_s` seconds from now. Only its owner's user and the administrator may. Answered by `Lease`."""

    id: str
    for_s: float


class ReleasePlease(msgspec.Struct, frozen=True, kw_only=True, tag="release", tag_field="ask"):
    """The lease `id` ends now; None: all that the asker may end. Answered by `Released`."""

    id: str | None = None


class HoldsPlease(msgspec.Struct, frozen=True, tag="list", tag_field="ask"):
    """Which holds are there? Answered by `Holds`."""


HoldAsk = HoldPlease | RenewPlease | ReleasePlease | HoldsPlease


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One hold. `until` None: until its holder lets go or dies. `kind`: lease, tied (to a connection), or lock (of /run/lekiwi/busy);
    a lock has `pid`s of those that hold it, and an `id` made of the first. Times by the robot's wall clock, for showing only."""

    id: str
    owner: str
    reason: str
    since: datetime
    until: datetime | None
    kind: str
    pids: tuple[int, ...] = ()


class Lease(msgspec.Struct, frozen=True, kw_only=True, tag="lease", tag_field="answer"):
    """Granted: on the robot's disk before this is said. `left_s`: seconds until it expires; None: when the connection closes.
    `switching`: a switch is under way, which the hold does not stop."""

    hold: Hold
    left_s: float | None
    switching: bool = False
    schema: str = "lekiwi.lease/1"


class Released(msgspec.Struct, frozen=True, kw_only=True, tag="released", tag_field="answer"):
    """These ended."""

    ids: tuple[str, ...]
    schema: str = "lekiwi.released/1"


class Holds(msgspec.Struct, frozen=True, kw_only=True, tag="holds", tag_field="answer"):
    """All holds, oldest first. `switching`: a switch is under way now."""

    holds: tuple[Hold, ...]
    switching: bool = False
    schema: str = "lekiwi.holds/1"


class HoldRefused(msgspec.Struct, frozen=True, kw_only=True, tag="error", tag_field="answer"):
    """`code` as in errors.py."""

    code: str
    message: str
    next: tuple[str, ...] = ()


HoldAnswer = Lease | Released | Holds | HoldRefused
