"""The errors that a person or a program is told, and what each means to HTTP and to a shell.

One base class, few codes. The message names the thing and what is wrong with it; `next` holds
commands or actions that can be pasted. Everything that is not a `LekiwiError` is a defect of ours:
it is logged whole and shown as one line with the code `internal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HTTP_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "bad_input": 400,
        "unauthenticated": 401,
        "not_allowed": 403,
        "not_found": 404,
        "ambiguous": 409,
        "conflict": 409,
        "blocked": 423,
        "too_large": 413,
        "failed": 422,
        "rolled_back": 422,
        "partial": 422,
        "timed_out": 504,
        "unavailable": 503,
        "internal": 500,
    }
)
"""Error code -> HTTP status. The body carries the code, so that a client never guesses it back."""

EXIT_CODE: Mapping[str, int] = MappingProxyType(
    {
        "failed": 1,
        "unavailable": 1,
        "internal": 1,
        "bad_input": 2,
        "too_large": 2,
        "unauthenticated": 3,
        "not_allowed": 3,
        "not_found": 4,
        "ambiguous": 4,
        "rolled_back": 5,
        "partial": 6,
        "timed_out": 7,
        "blocked": 8,
        "conflict": 9,
    }
)
"""Error code -> exit code of the programs (design: 0 ok, 130 interrupted are the two others)."""


class LekiwiError(Exception):
    """Something that its reader can act on.

    `code` is a key of `HTTP_STATUS`; `message` one or a few plain sentences; `next` commands that may
    be pasted; `details` machine-readable particulars (JSON values only).
    """

    code = "failed"

    def __init__(
        self,
        message: str,
        *,
        next: tuple[str, ...] = (),
        details: Mapping[str, object] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next = next
        self.details: Mapping[str, object] = MappingProxyType(dict(details or {}))
        if code is not None:
            self.code = code
        assert self.code in HTTP_STATUS, self.code


class BadInput(LekiwiError):
    """What was given can never work as it stands."""

    code = "bad_input"


class TooLarge(LekiwiError):
    """What was given is over a limit that the message names."""

    code = "too_large"


class Unauthenticated(LekiwiError):
    """No valid proof of who is asking."""

    code = "unauthenticated"


class NotAllowed(LekiwiError):
    """Known, but not permitted to do this."""

    code = "not_allowed"


class NotFound(LekiwiError):
    """Nothing goes by that name (as far as the one who asks may see)."""

    code = "not_found"


class Ambiguous(LekiwiError):
    """More than one thing goes by that name; `details["candidates"]` lists them."""

    code = "ambiguous"


class Conflict(LekiwiError):
    """The present state does not allow it; doing something else first may."""

    code = "conflict"


class Blocked(LekiwiError):
    """A policy forbids it for now."""

    code = "blocked"


class Failed(LekiwiError):
    """It was tried and it failed."""

    code = "failed"


class RolledBack(LekiwiError):
    """It was tried, it failed, and what ran before runs again."""

    code = "rolled_back"


class Partial(LekiwiError):
    """Done for some, not for all."""

    code = "partial"


class TimedOut(LekiwiError):
    """Waiting ended; the work goes on."""

    code = "timed_out"


class Unavailable(LekiwiError):
    """The other side cannot be reached or is not ready; trying again later may work."""

    code = "unavailable"
