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
    """This session is the robot's link from now on, with hello's report. `boot_before`: to be remembered when it is another
    one; `displaced`: the session that it replaces, if one was live."""

    robot: RobotId
    boot: str
    boot_before: str | None
    displaced: str | None


@dataclass(frozen=True, slots=True)
class MarkCloned:
    """The robot's key is used by two machines: mark it, end `live` too."""

    robot: RobotId
    live: str | None


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The robot's newest state replaces what is stored."""

    report: Report


@dataclass(frozen=True, slots=True)
class StoreEvents:
    """Store these, then come back with `Stored`. `lost`: so many before them were lost on the robot."""

    records: tuple[EventRecord, ...]
    lost: int


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


Effect = Send | LookUp | TakeOver | MarkCloned | StoreReport | StoreEvents | StoreLogs | IssueTicket | Close


def refusal(code: str, message: str, *, retry: bool) -> tuple[Send, Close]:
    """The effects of refusing a link; `code` is one of errors.py."""
    return Send(Refused(code=code, message=message, retry=retry)), Close(POLICY)
