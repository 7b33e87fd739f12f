"""What a link may ask of its socket and of the database: a closed list."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.wire.ids import ManifestDigest, RobotId
from lekiwi_deploy.wire.link import EventRecord, FromServer, Hello, LogRecord, Refused, Report

GOING_AWAY = 1001
POLICY = 1008
TOO_BIG = 1009


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the robot."""

    message: FromServer


@dataclass(frozen=True, slots=True)
class LookUp:
    """Read what is known of `robot`, lock it, and come back with `Known(hello, facts)` within the same transaction."""

    robot: RobotId
    hello: Hello


@dataclass(frozen=True, slots=True)
class TakeOver:
    """This session is the robot's link from now on, with hello's report; nobody contends for it any more. `boot_before`: the boot
    id it came with before, to be remembered; None: the same. `generation`: number its desired state so from now on; None: as it is."""

    robot: RobotId
    boot: str
    boot_before: str | None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class MarkCloned:
    """The robot's key is used by two machines: mark it, and end its live link."""

    robot: RobotId


@dataclass(frozen=True, slots=True)
class Contend:
    """A machine with another boot id greeted beside a live link: note it, and ask that link to come back (`Contended`)."""

    robot: RobotId
    boot: str


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The robot's newest state replaces what is stored."""

    report: Report


@dataclass(frozen=True, slots=True)
class StoreEvents:
    """Store these, then come back with `Stored`."""

    records: tuple[EventRecord, ...]


@dataclass(frozen=True, slots=True)
class StoreLogs:
    """Store these, then come back with `Stored`. `dropped`: so many lines before them were dropped on the robot."""

    records: tuple[LogRecord, ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class IssueTicket:
    """Send a content ticket for `digest`, if the robot may have it."""

    digest: ManifestDigest


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with this code, after what was to be sent."""

    code: int


Effect = Send | LookUp | TakeOver | MarkCloned | Contend | StoreReport | StoreEvents | StoreLogs | IssueTicket | Close


def refusal(code: str, message: str, *, retry: bool) -> tuple[Send, Close]:
    """The effects of refusing a link; `code` is one of errors.py."""
    return Send(Refused(code=code, message=message, retry=retry)), Close(POLICY)
