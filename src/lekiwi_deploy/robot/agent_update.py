"""What to do about the agent itself: whether to go over to another release, and whether one that was gone over to may stay. PURE.

A release on trial is watched by the one before. It may stay when it answered without a break for `STAYS_S` and, if there was a link
before, has it again; it goes when it is silent for too long or never linked though the one before can reach the server. A robot without a
network keeps it: that is no fault of the release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.wire.ids import is_digest
from lekiwi_deploy.wire.link import AgentWanted
from lekiwi_deploy.wire.reasons import Reason, sentence

BEGINS_S = 30.0
"""To answer for the first time."""
SILENT_S = 15.0
"""Without an answer, later."""
LINKS_S = 40.0
"""To be linked, where the server can be reached."""
RETURNS_S = 90.0
"""To be linked after a network came back: longer than the longest pause between two tries to link."""
STAYS_S = 45.0
WITHOUT_LINK_S = 600.0
"""After so long without a network the link is waited for no more."""
STARTS = 3
"""More starts than that in a trial, and it goes."""
LARGEST = 500_000_000
"""Bytes of a release's archive."""
_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!-]{0,80}\Z")
_PATH = re.compile(r"/agent/[A-Za-z0-9][A-Za-z0-9._-]{0,100}/bundle\Z")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A release failed here, in that attempt."""

    why: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The robot. `running`: the release of this agent, None: it cannot replace itself. `held`: why not to change anything now;
    `busy`: a deployment is being switched, tried or fetched. `blocked`: why the last try failed, while it is too early for another.
    `fetched`: the archive is here, verified; `checked`: it was unpacked and found in order."""

    running: str | None
    on_trial: bool
    refused: Mapping[str, Refusal]
    newest_attempt: int
    proved: bool
    held: tuple[Reason, ...] = ()
    busy: str = ""
    blocked: str = ""
    fetched: bool = False
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do. `why`: what it waits for, or why it will not; `refused`: it will not, whatever happens."""

    why: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get the archive."""


@dataclass(frozen=True, slots=True)
class Unpack:
    """Make an environment of the archive, beside the one that runs, and try whether it works here."""


@dataclass(frozen=True, slots=True)
class GoOver:
    """Have the guard go over to it."""


Step = Rest | Fetch | Unpack | GoOver


def next_step(wanted: AgentWanted | None, seen: Seen) -> Step:
    """What to do now."""
    if seen.on_trial:
        return Rest("the release that runs is being watched")
    if wanted is None or wanted.release == seen.running:
        return Rest()
    if seen.running is None:
        return Rest("this agent was not installed from a server, so it cannot replace itself", refused=True)
    if (wrong := unsound(wanted)) is not None:
        return Rest(f"what the server wants cannot be: {wrong}", refused=True)
    if not seen.proved:
        return Rest("nothing proves that the server wants it: join this robot again", refused=True)
    if wanted.attempt < seen.newest_attempt:
        return Rest("something newer was asked for before", refused=True)
    refusal = seen.refused.get(wanted.release)
    if refusal is not None and not (wanted.again and wanted.attempt > refusal.attempt):
        return Rest(refusal.why, refused=True)
    if seen.blocked:
        return Rest(seen.blocked)
    if not seen.fetched:
        return Fetch()
    if not seen.checked:
        return Unpack()
    if seen.busy:
        return Rest(seen.busy)
    if seen.held:
        return Rest(sentence(seen.held[0]))
    return GoOver()


def unsound(wanted: AgentWanted) -> str | None:
    """What is wrong with it; None: nothing."""
    if not _RELEASE.match(wanted.release) or ".." in wanted.release:
        return f"{wanted.release[:40]!r} names no release"
    if not is_digest(wanted.digest):
        return "it has no digest"
    if not 0 < wanted.size <= LARGEST:
        return f"an agent of {wanted.size} bytes"
    if not _PATH.match(wanted.path):
        return f"{wanted.path[:60]!r} is no place of an agent"
    if not 0 <= wanted.attempt <= 2**53:
        return "its number is too large"
    return None


@dataclass(frozen=True, slots=True)
class Watched:
    """A release on trial, in seconds. `since`: it was gone over to; `answered_for`: it has answered without a break, None: it does not
    now; `silent_for`: since its last answer (or since the change). `linked_before`: the release before was linked. `reachable`: the
    release before can reach the server now; None: nobody tried. `returned_for`: since it could again, after it could not; None: it always
    could."""

    since: float
    answered_for: float | None
    silent_for: float
    starts: int
    linked: bool
    linked_before: bool
    reachable: bool | None = None
    returned_for: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again. `try_server`: find out whether the server can be reached."""

    try_server: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """It is in order."""

    why: str


@dataclass(frozen=True, slots=True)
class GoBack:
    """The release before runs again."""

    why: str


def judge(seen: Watched) -> Wait | Stay | GoBack:
    """Whether the release on trial may stay."""
    if seen.starts > STARTS:
        return GoBack(f"it was started {seen.starts} times and did not get on")
    if seen.answered_for is None:
        patience = BEGINS_S if seen.silent_for >= seen.since else SILENT_S
        if seen.silent_for >= patience:
            return GoBack(f"it did not answer for {seen.silent_for:.0f} s")
        return Wait()
    if seen.linked_before and not seen.linked:
        if seen.since < LINKS_S:
            return Wait(try_server=seen.since >= LINKS_S / 4)  # early, to know of an outage that ends meanwhile
        if seen.reachable is None:
            return Wait(try_server=True)
        if seen.reachable and (seen.returned_for is None or seen.returned_for >= RETURNS_S):
            return GoBack(f"it was not linked after {seen.since:.0f} s, though the server can be reached")
        if seen.since < WITHOUT_LINK_S:
            return Wait(try_server=True)
        return Stay("it runs; there is no steady network to try its link with")
    if seen.answered_for < STAYS_S:
        return Wait()
    return Stay("it runs and is linked" if seen.linked else "it runs")
