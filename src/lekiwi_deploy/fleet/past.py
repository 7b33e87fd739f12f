"""What held robots back before, put together so that a person can read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lekiwi_deploy.wire.api import RobotStatus
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.progress import Progress, RobotMoved, RolloutFinished, RolloutWaits
from lekiwi_deploy.wire.reasons import LaterStep, Reason, sentence
from lekiwi_deploy.wire.why import PastWait

MOMENT = timedelta(seconds=1)
"""A wait that lasted less was nobody's business."""
NAMED = 5


@dataclass(frozen=True, slots=True)
class Span:
    """One robot waited for `reason` from `since` until `until` (None: it does now). `key`: `wire.reasons.key`."""

    robot: RobotId
    key: str
    reason: Reason
    since: datetime
    until: datetime | None


def of_robot(spans: Iterable[Span]) -> tuple[PastWait, ...]:
    """Newest first; spans of the same reason that follow on each other (a rollout took another's place) are one."""
    found: list[Span] = []
    last: dict[str, int] = {}
    for span in sorted(spans, key=lambda one: (one.since, one.key)):
        at = last.get(span.key)
        before = found[at] if at is not None else None
        if at is not None and before is not None and before.until is not None and span.since - before.until < MOMENT:
            found[at] = Span(span.robot, span.key, span.reason, before.since, span.until)
            continue
        last[span.key] = len(found)
        found.append(span)
    told = [_told([span]) for span in found if span.until is None or span.until - span.since >= MOMENT]
    return tuple(sorted(told, key=lambda one: one.since, reverse=True))


def of_fleet(spans: Iterable[Span]) -> tuple[PastWait, ...]:
    """Robots that waited for the same thing together: from when the first of them did, until the last did; most robots first."""
    kinds: dict[str, list[Span]] = {}
    for span in spans:
        if span.until is None or span.until - span.since >= MOMENT:
            kinds.setdefault(str(span.reason.__struct_config__.tag), []).append(span)
    told = [_told(several) for several in kinds.values()]
    return tuple(sorted(told, key=lambda one: (-one.robots, one.since)))


def _told(spans: list[Span]) -> PastWait:
    newest = max(spans, key=lambda one: one.since)
    names = sorted({span.robot for span in spans})
    ends = [span.until for span in spans]
    return PastWait(
        reason=newest.reason,
        text=sentence(newest.reason),
        since=min(span.since for span in spans),
        until=None if None in ends else max(end for end in ends if end is not None),
        robots=len(names),
        names=tuple(names[:NAMED]),
    )


def of_steps(entries: Iterable[Progress]) -> tuple[PastWait, ...]:
    """What a gradual rollout waited for, out of its story: each wait lasted until robots were asked, it waited for something else, or it was over.
    Oldest first; the one that lasts still is not past."""
    told: list[PastWait] = []
    begun: tuple[datetime, RolloutWaits] | None = None
    for entry in entries:
        body = entry.body
        asked = isinstance(body, RobotMoved) and body.status == RobotStatus.ASSIGNED
        if begun is not None and (asked or isinstance(body, RolloutWaits | RolloutFinished)):
            since, waits = begun
            if entry.at - since >= MOMENT:
                reason = LaterStep(rollout=entry.stream, step=waits.at, of=waits.of, what=waits.what)
                told.append(PastWait(reason=reason, text=sentence(reason), since=since, until=entry.at, robots=0))
            begun = None
        if isinstance(body, RolloutWaits):
            begun = (entry.at, body)
    return tuple(told)
