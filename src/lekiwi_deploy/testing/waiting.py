"""Wait for something to become true, for so long and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NeverHappened(AssertionError):
    """What was waited for did not happen in time; the message says what, and what was seen last."""


def eventually(what: str, ask: Callable[[], T | None], *, within_s: float = 20.0, every_s: float = 0.02) -> T:
    """The first answer of `ask` that counts as true. Raises `NeverHappened` after `within_s` seconds."""
    until = time.monotonic() + within_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() >= until:
            raise NeverHappened(f"{what}: not within {within_s:g} s; last seen: {answer!r}")
        time.sleep(every_s)
