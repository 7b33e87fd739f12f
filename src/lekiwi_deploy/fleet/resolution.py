"""What a selector means in an environment: one deployment, or an error that lists the candidates.

A time means what was live at that instant, from the activation intervals, not what was created near it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import assert_never

from lekiwi_deploy.errors import Ambiguous, BadInput, LekiwiError, NotFound
from lekiwi_deploy.fleet import selectors
from lekiwi_deploy.fleet.durations import instant, local_zone
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest

_LISTED = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment of the project. `digest` None: it was never built, so nothing can run it."""

    id: DeploymentId
    version: str
    commit: str | None
    created_at: datetime
    digest: ManifestDigest | None


@dataclass(frozen=True, slots=True)
class Interval:
    """`deployment` was live from `since` until `until` (None: it is). Counts are of robots: good, healthy, all."""

    deployment: DeploymentId
    since: datetime
    until: datetime | None
    good: int = 0
    healthy: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be meant. `intervals` of the environment, oldest first; `current`: what is live in it, or on the one
    robot that is asked about; `quarantined`: deployments that failed on robots here; `aliases`: labels of the project's deployments."""

    environment: str
    deployments: Mapping[DeploymentId, Candidate]
    intervals: tuple[Interval, ...]
    current: DeploymentId | None
    quarantined: frozenset[DeploymentId] = field(default=frozenset())
    aliases: Mapping[str, DeploymentId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The deployment meant. `interval`: when it was live, as far as the selector means one; `at`: the instant meant,
    in the asker's zone. `text` is the line to echo."""

    deployment: Candidate
    interval: Interval | None
    at: datetime | None
    text: str


def resolve(selector: str | None, candidates: Candidates, now: datetime, utc_offset_min: int = 0) -> Resolved:
    """What `selector` (None: the previous good one) means now, for an asker in the zone of `utc_offset_min`.

    Raises `BadInput`, `NotFound`, or `Ambiguous` with the candidates.
    """
    parsed = selectors.parse(selector)
    zone = local_zone(utc_offset_min)
    readings = parsed.readings if isinstance(parsed, selectors.Word) else (parsed,)
    found = _one_of(readings, selector or "", candidates, now, utc_offset_min)
    interval, at = _latest_interval(found.id, candidates), None
    last = readings[-1]
    if isinstance(last, selectors.Time):
        meant = instant(last.when, now, utc_offset_min)
        live_then = _interval_at(meant, candidates)
        if live_then is not None and live_then.deployment == found.id:
            interval, at = live_then, meant
    said = (selector or "previous").strip()
    return Resolved(found, interval, at, echo(said, at, found, interval, candidates.environment, zone, now))


def _exact(selector: selectors.Exact, said: str, known: Candidates, now: datetime, utc_offset_min: int) -> Candidate:
    match selector:
        case selectors.Previous():
            return _runnable(_previous(known), known)
        case selectors.IdPrefix(prefix):
            starting = [one for one in known.deployments.values() if one.id.startswith(prefix)]
            if len(starting) > 1:
                raise _ambiguous(prefix, starting)
            return _only(prefix, starting, known)
        case selectors.Version(name):
            return _only(name, _with_version(name, known), known)
        case selectors.Commit(prefix):
            return _only(f"commit:{prefix}", _with_commit(prefix, known), known)
        case selectors.Alias(name):
            if name not in known.aliases:
                raise NotFound(f"there is no alias {name!r}", next=("lekiwi alias list",))
            return _runnable(known.aliases[name], known)
        case selectors.Back(count):
            if count >= len(known.intervals):
                raise NotFound(
                    f"@-{count} goes too far back: {known.environment} has had "
                    f"{len(known.intervals)} activations, so @-{max(len(known.intervals) - 1, 0)} is the oldest",
                    next=("lekiwi list",),
                )
            return _runnable(known.intervals[-1 - count].deployment, known)
        case selectors.Time(when):
            return _runnable(_live_at(instant(when, now, utc_offset_min), said, known, now).deployment, known)
        case never:
            assert_never(never)


def _one_of(
    readings: Sequence[selectors.Exact], said: str, known: Candidates, now: datetime, utc_offset_min: int
) -> Candidate:
    if len(readings) == 1:
        return _exact(readings[0], said, known, now, utc_offset_min)
    found: dict[DeploymentId, Candidate] = {}
    failed: list[LekiwiError] = []
    for reading in readings:
        try:
            one = _exact(reading, said, known, now, utc_offset_min)
        except Ambiguous:
            raise
        except LekiwiError as error:
            failed.append(error)
        else:
            found[one.id] = one
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise _ambiguous(said, found.values())
    if any(isinstance(one, selectors.Alias) and one.name in known.aliases for one in readings):
        raise failed[0]  # it is a label, of what cannot run
    if isinstance(readings[-1], selectors.Time):
        raise failed[-1]
    raise NotFound(
        f"nothing in {known.environment} goes by {said!r}: no id, alias, version, tag or commit, and it is no time",
        next=("lekiwi list",),
    )


def _with_version(name: str, known: Candidates) -> list[Candidate]:
    wanted = name.removeprefix("v")
    return [one for one in known.deployments.values() if one.version.removeprefix("v") == wanted]


def _with_commit(prefix: str, known: Candidates) -> list[Candidate]:
    return [one for one in known.deployments.values() if one.commit is not None and one.commit.startswith(prefix)]


def _only(said: str, matches: list[Candidate], known: Candidates) -> Candidate:
    """The one that is meant: those that can run, and among those the ones that were live here, come first; several of the
    same content are one, the newest of them."""
    if not matches:
        raise NotFound(f"no deployment goes by {said!r}", next=("lekiwi list",))
    built = [one for one in matches if one.digest is not None]
    if not built:
        return _runnable(matches[0].id, known)
    was_live = {interval.deployment for interval in known.intervals}
    preferred = [one for one in built if one.id in was_live] or built
    if len({one.digest for one in preferred}) == 1:
        return max(preferred, key=lambda one: (one.created_at, one.id))
    raise _ambiguous(said, preferred)


def _ambiguous(said: str, matches: Iterable[Candidate]) -> Ambiguous:
    newest = sorted(matches, key=lambda one: (one.created_at, one.id), reverse=True)
    lines = "\n".join(f"  {one.id}  {one.version}  {(one.commit or '-')[:7]}" for one in newest[:_LISTED])
    more = f"\n  and {len(newest) - _LISTED} more" if len(newest) > _LISTED else ""
    return Ambiguous(
        f"{said!r} may mean {len(newest)} deployments:\n{lines}{more}",
        next=tuple(f"lekiwi rollback --to={one.id}" for one in newest[:_LISTED]),
        details={"candidates": [one.id for one in newest]},
    )


def _runnable(id: DeploymentId, known: Candidates) -> Candidate:
    one = known.deployments.get(id)
    if one is None:
        raise NotFound(f"{id} is no longer known", next=("lekiwi list",))
    if one.digest is None:
        raise NotFound(f"{id} was never built, so no robot can run it", next=(f"lekiwi inspect {id}",))
    return one


def history(intervals: Iterable[Interval]) -> list[DeploymentId]:
    """The deployments that were live, as a stack, oldest first: going back to one takes those above it away, so that going back
    twice goes further back instead of to and fro."""
    stack: list[DeploymentId] = []
    for interval in intervals:
        if interval.deployment in stack:
            del stack[stack.index(interval.deployment) + 1 :]
        else:
            stack.append(interval.deployment)
    return stack


def previous_of(known: Candidates) -> DeploymentId | None:
    """The last deployment marked good here before the current one; else the last healthy one that is not quarantined."""
    stack = history(known.intervals)
    if known.current in stack:
        del stack[stack.index(known.current) :]
    good = {interval.deployment for interval in known.intervals if interval.good > 0}
    healthy = {interval.deployment for interval in known.intervals if interval.healthy > 0} - known.quarantined
    for accepted in (good, healthy):
        for deployment in reversed(stack):
            if deployment in accepted:
                return deployment
    return None


def _previous(known: Candidates) -> DeploymentId:
    if known.current is None:
        raise NotFound(f"nothing is live in {known.environment}, so there is nothing to go back from")
    found = previous_of(known)
    if found is None:
        raise NotFound(
            f"{known.environment} has no earlier deployment that was good or healthy before {known.current}",
            next=("lekiwi list",),
        )
    return found


def _interval_at(at: datetime, known: Candidates) -> Interval | None:
    for interval in reversed(known.intervals):
        if interval.since <= at and (interval.until is None or at < interval.until):
            return interval
    return None


def _latest_interval(id: DeploymentId, known: Candidates) -> Interval | None:
    return next((interval for interval in reversed(known.intervals) if interval.deployment == id), None)


def _live_at(at: datetime, said: str, known: Candidates, now: datetime) -> Interval:
    if at > now:
        raise BadInput(f"{said}, {_stamp(at, now)}, is in the future: a time means what was live then")
    interval = _interval_at(at, known)
    if interval is not None:
        return interval
    later = next((one for one in known.intervals if one.since > at), None)
    hint = "" if later is None else f"; {later.deployment} was the first after it, on {_stamp(later.since, at)}"
    raise NotFound(f"nothing was live in {known.environment} at {said}, {_stamp(at, now)}{hint}", next=("lekiwi list",))


def _stamp(at: datetime, beside: datetime) -> str:
    here = at.astimezone(beside.tzinfo) if at.tzinfo is None else at
    year = "" if here.year == beside.year else f" {here.year}"
    return f"{here:%a} {here.day} {here:%b}{year} {here:%H:%M}"


def echo(
    said: str,
    at: datetime | None,
    deployment: Candidate,
    interval: Interval | None,
    environment: str,
    zone: timezone,
    now: datetime,
) -> str:
    """`3-days-ago = Tue 18 Aug 14:02 +02:00 -> dep_7kQ2mX4b v2.2.9 (8b71ff7), live 17 Aug 09:10 to 19 Aug 11:44, good on 9/9`."""
    here = now.astimezone(zone)
    meant = "" if at is None else f" = {_stamp(at, here)} {_offset(at)}"
    commit = "" if deployment.commit is None else f" ({deployment.commit[:7]})"
    line = f"{said}{meant} -> {deployment.id} {deployment.version}{commit}"
    if interval is None:
        return f"{line}, never live in {environment}"
    since = _stamp(interval.since.astimezone(zone), here).partition(" ")[2]
    if interval.until is None:
        line += f", live since {since}"
    else:
        line += f", live {since} to {_stamp(interval.until.astimezone(zone), here).partition(' ')[2]}"
    if interval.good:
        return f"{line}, good on {interval.good}/{interval.total}"
    return f"{line}, healthy on {interval.healthy}/{interval.total}" if interval.healthy else line


def _offset(at: datetime) -> str:
    text = f"{at:%z}"
    return f"{text[:3]}:{text[3:5]}"
