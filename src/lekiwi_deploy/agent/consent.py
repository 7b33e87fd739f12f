"""What holds a switch off on this robot now: who said "not now", and which conditions of the release are not met."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.busy_lock import BusyLock
from lekiwi_deploy.agent.hold_book import HoldBook, moment
from lekiwi_deploy.agent.hold_desk import HoldDesk
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.readings import AGENT_MADE, Sensors
from lekiwi_deploy.robot import holds
from lekiwi_deploy.robot.conditions import steady, unmet
from lekiwi_deploy.wire.holds import Hold
from lekiwi_deploy.wire.manifest import Conditions
from lekiwi_deploy.wire.reasons import Reason, WindowClosed, key

LOOK_AGAIN_S = 5.0
"""How often conditions are read while one of them is not met."""
LOCK_AGAIN_S = 2.0
"""How often the lock is looked at while it is held: a program may let go of it without closing the file, of which nobody is told."""
_CLOSED_S = 0.02
"""The kernel tells of a close a moment before it lets go of the lock."""


class Consent:
    """Of one robot. `note` adds to its history; `wake` makes the reconcile loop look again;
    `longest_s`: the longest time that a lease may have to run; `switching`: whether a switch is under way."""

    def __init__(
        self,
        paths: Paths,
        *,
        longest_s: float,
        note: Callable[[str, str], None],
        wake: Callable[[], None],
        switching: Callable[[], bool],
    ) -> None:
        self._note = note
        self._wake = wake
        self._book = HoldBook(paths.holds)
        self._lock = BusyLock(paths.busy, let_go=self._let_go)
        self._lock_trouble = ""
        self._sensors = Sensors(paths.root, paths.lekiwi)
        self._told: tuple[Reason, ...] = ()
        self.since: dict[str, datetime] = {}
        """When each reason that `held_off` gives was first there, by `reasons.key` and the wall clock."""
        self._held: tuple[Hold, ...] = ()
        self._opens: datetime | None = None
        self._desk = HoldDesk(
            paths.hold_socket,
            self._book,
            longest_s=longest_s,
            all_holds=self.holds,
            changed=self._changed,
            renewed=wake,
            switching=switching,
        )

    def load(self) -> None:
        """Take over the leases of an agent before. Call it once, before anything is switched."""
        trouble = self._book.load()
        if trouble is not None:
            self._note("trouble", trouble)

    async def open(self) -> None:
        """Let programs say "not now"."""
        await self._desk.open()
        self.holds()

    async def close(self) -> None:
        """Listen no more."""
        await self._desk.close()
        self._lock.close()

    def holds(self) -> tuple[Hold, ...]:
        """Who says "not now", oldest first."""
        try:
            locks = self._lock.locks()
            self._lock_trouble = ""
        except OSError as error:
            locks = ()
            if self._lock_trouble != str(error):
                self._lock_trouble = str(error)
                self._note("trouble", f"nobody can hold switches off by locking a file: {error}")
        return holds.in_order(self._book.book, locks, moment())

    async def held_off(self, asked: Conditions, made: datetime, shut: WindowClosed | None = None) -> tuple[Reason, ...]:
        """Why not to switch now to a release that was made at `made`: that the window is `shut`, then holds, oldest first, then conditions
        in their order."""
        seen = await self._sensors.read(asked)
        self._held = self.holds()
        self._opens = shut.opens if shut is not None else None
        now = (
            *([shut] if shut is not None else []),
            *map(holds.busy, self._held),
            *unmet(asked, seen, made=made, agent_made=AGENT_MADE),
        )
        self._told = steady(self._told, now)
        first = {key(holds.busy(hold)): hold.since for hold in self._held}
        self.since = {
            name: first.get(name) or self.since.get(name) or machine.utc_now() for name in map(key, self._told)
        }
        return self._told

    def look_again_in(self) -> float | None:
        """Seconds until what `held_off` said last may have changed by itself; None: it said nothing."""
        if not self._told:
            return None
        times = []
        if len(self._told) > len(self._held):
            times.append(LOOK_AGAIN_S)
        if any(hold.kind == "lock" for hold in self._held):
            times.append(LOCK_AGAIN_S)
        end = holds.next_end_in(self._book.book, moment())
        if end is not None:
            times.append(end)
        if self._opens is not None:
            times.append(max(0.0, (self._opens - machine.utc_now()).total_seconds()))
        return min(times, default=None)

    def over(self) -> None:
        """Nothing waits any more: nothing needs to be looked at."""
        self._told, self._held, self._opens, self.since = (), (), None, {}

    def _changed(self, kind: str, text: str) -> None:
        self._note(kind, text)
        self._wake()

    def _let_go(self) -> None:
        if self._told:
            asyncio.get_running_loop().call_later(_CLOSED_S, self._wake)
