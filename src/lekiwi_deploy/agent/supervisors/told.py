"""What a program's sd_notify messages mean for the robot (docs/robot-contract.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lekiwi_deploy.agent.supervisors.supervisor import Told

_LONGEST = 200
"""Characters of a status that are kept."""


@dataclass(frozen=True, slots=True)
class Heard:
    """`told` after a message; `alive`: it fed the watchdog; `failed`: it asked to be ended as one that hangs (WATCHDOG=trigger)."""

    told: Told
    alive: bool = False
    failed: bool = False


def after_message(told: Told, message: bytes, now: float) -> Heard:
    """One datagram: assignments, one a line. `now`: CLOCK_MONOTONIC seconds of its arrival. What is not understood is passed over."""
    alive = failed = False
    for line in message.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition("=")
        match name, value:
            case "READY", "1":
                told = replace(told, ready=True)
            case "RELOADING", "1":
                told = replace(told, ready=False)
            case "WATCHDOG", "1":
                alive = True
            case "WATCHDOG", "trigger":
                failed = True
            case "STATUS", _:
                told = after_status(told, value, now)
    return Heard(told, alive, failed)


def after_status(told: Told, status: str, now: float) -> Told:
    """The program's newest status, which may be a line of the robot contract."""
    text = "".join(character if character.isprintable() else " " for character in status)[:_LONGEST]
    told = replace(told, status=text or None)
    words = text.split()
    match words:
        case ["waiting", "for", hardware]:
            return replace(told, waiting_for=hardware)
        case ["owns", _, *rest]:
            return replace(told, waiting_for=None, owns_since=_seconds(rest, now), released_at=None)
        case ["released", _, *rest]:
            return replace(told, waiting_for=None, released_at=_seconds(rest, now))
        case _:
            return told


def _seconds(rest: list[str], now: float) -> float:
    """The moment that the program names, if it is one that can be: not in the future, not long ago."""
    if len(rest) == 1 and rest[0].startswith("@"):
        try:
            at = float(rest[0][1:])
        except ValueError:
            return now
        if now - 60.0 <= at <= now:
            return at
    return now
