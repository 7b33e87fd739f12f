"""Leading connections to instances: the robot's `Traffic`, opened when the first service needs it, led again when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.errors import LekiwiError

RETRY_S = 0.5
FAILED_AFTER_S = 3.0
"""A public port that cannot be had for so long is a failure; what held it may just be ending."""


class Leading:
    """`choose` gives the way for connections here; it is told what to call when that was lost. `wrong`: why traffic cannot be led as it is to
    be, with `since` (CLOCK_BOOTTIME)."""

    def __init__(
        self, choose: Callable[[Callable[[], None]], Awaitable[Traffic]], *, nudge: Callable[[], None]
    ) -> None:
        self.wrong: str | None = None
        self.since = 0.0
        self._choose = choose
        self._nudge = nudge
        self._traffic: Traffic | None = None
        self._targets: dict[int, int] = {}
        self._retry_at = 0.0
        self._again: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find what is in force."""
        try:
            self._traffic = await self._choose(self._lost)
            await self._traffic.open()
            self._targets = dict(self._traffic.targets())
        except (LekiwiError, OSError) as error:
            self._failed(error)

    @property
    def kind(self) -> str | None:
        """How connections are led, as a person is told; None: nothing of it runs."""
        return self._traffic.kind if self._traffic is not None and self._targets else None

    @property
    def text(self) -> str:
        """How connections are led, why in this way, and what is wrong with it, in one line; empty: nothing of it runs."""
        if self._traffic is None or not (self._targets or self.wrong):
            return self.wrong or ""
        why = f" ({self._traffic.why})" if self._traffic.why else ""
        wrong = f": {self.wrong}" if self.wrong is not None else ""
        return f"{self._traffic.kind}{why}{wrong}"

    def targets(self) -> Mapping[int, int]:
        """Public port → private port, as led last."""
        return self._targets

    def wait_s(self) -> float:
        """Seconds until leading may be tried again."""
        return max(0.0, self._retry_at - machine.boottime()) if self.wrong is not None else 0.0

    async def lead(self, targets: Mapping[int, int]) -> bool:
        """Make these in force. False: it could not be done, `wrong` says why."""
        if self._traffic is None:
            await self.open()
        try:
            if self._traffic is None:
                return False
            await self._traffic.lead(targets)
        except (LekiwiError, OSError) as error:
            self._failed(error)
            return False
        self._targets, self.wrong = dict(targets), None
        return True

    async def connections(self, private: int | None) -> int:
        """How many there are to a private port; none when nobody can tell."""
        if private is None or self._traffic is None:
            return 0
        try:
            return await self._traffic.connections(private)
        except (LekiwiError, OSError):
            return 0

    async def keep_for_boot(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`. Raises `LekiwiError`, `OSError`."""
        if self._traffic is not None:
            await self._traffic.keep_for_boot(targets)

    async def close(self) -> None:
        """Let go; what is in force stays in force."""
        if self._again is not None:
            self._again.cancel()
        if self._traffic is not None:
            await self._traffic.close()

    async def remove(self) -> None:
        """Lead nothing any more."""
        self._targets = {}
        if self._traffic is not None:
            await self._traffic.remove()

    def _failed(self, error: Exception) -> None:
        if self.wrong is None:
            self.since = machine.boottime()
        self.wrong = error.message if isinstance(error, LekiwiError) else str(error)
        self._retry_at = machine.boottime() + RETRY_S

    def _lost(self) -> None:
        """Somebody ended it, or changed it: as it was, at once."""
        if self._again is None or self._again.done():
            self._again = asyncio.get_running_loop().create_task(self._lead_again())

    async def _lead_again(self) -> None:
        while True:
            try:
                if self._traffic is not None:
                    await self._traffic.open()
                    await self._traffic.lead(self._targets)
                break
            except (LekiwiError, OSError) as error:
                self._failed(error)
                self._nudge()
                await asyncio.sleep(RETRY_S)
        self.wrong = None
        self._nudge()
