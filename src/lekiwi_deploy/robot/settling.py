"""How often a robot may change to and from one deployment by itself. Nothing that is known makes it go to and fro for ever; this ends what is
not known: after `MOST` changes within `WITHIN_S` under one order it stays with what it has until a person orders something.

Time is counted without a wall clock: changes of an earlier boot count as long as this boot is younger than `WITHIN_S`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.reasons import Settling

MOST = 6
WITHIN_S = 3600.0


class Change(msgspec.Struct, frozen=True, array_like=True):
    """From one deployment to another; `at`: CLOCK_BOOTTIME seconds in `boot`."""

    to: DeploymentId
    left: DeploymentId | None
    boot: str
    at: float


def remembered(changes: Iterable[Change], change: Change) -> tuple[Change, ...]:
    """`changes` and this one, without those that are too old by now."""
    return (*(old for old in changes if _recent(old, change)), change)


def _recent(old: Change, now: Change) -> bool:
    return now.at - old.at < WITHIN_S if old.boot == now.boot else now.at < WITHIN_S


def settling(changes: Iterable[Change], deployment: DeploymentId | None) -> Settling | None:
    """Why not to change to `deployment` again; None: it may be."""
    count = sum(1 for change in changes if deployment in (change.to, change.left))
    if deployment is None or count < MOST:
        return None
    return Settling(deployment=deployment, changes=count, until=None)
