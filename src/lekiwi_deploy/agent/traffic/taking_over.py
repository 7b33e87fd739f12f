"""From one way to the other: the agent was told to use the relay where nftables served before, or the other way round."""

from __future__ import annotations

from collections.abc import Mapping

from lekiwi_deploy.agent.traffic.nftables import NftablesTraffic
from lekiwi_deploy.agent.traffic.relay import RelayTraffic


class TakingOver:
    """See `Traffic`. New connections go the new way as soon as it leads somewhere; those of the old way go on until they end."""

    def __init__(self, new: NftablesTraffic | RelayTraffic, old: NftablesTraffic | RelayTraffic) -> None:
        self.kind = new.kind
        self.why = new.why
        self._new = new
        self._old = old
        self._over = False

    def targets(self) -> Mapping[int, int]:
        """See `Traffic`: by either way."""
        return {**self._old.targets(), **self._new.targets()}

    async def open(self) -> None:
        """See `Traffic`."""
        await self._new.open()
        if not self._over:
            await self._old.open()

    async def lead(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`."""
        if isinstance(self._new, NftablesTraffic):
            self._new.leaving = tuple(self._old.targets())
        await self._new.lead(targets)
        if not self._over:
            await self._old.lead({})
            await self._old.close()
            self._over = True

    async def connections(self, private: int) -> int:
        """See `Traffic`."""
        return await self._new.connections(private)

    async def keep_for_boot(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`."""
        await self._new.keep_for_boot(targets)

    async def close(self) -> None:
        """See `Traffic`."""
        await self._new.close()
        await self._old.close()

    async def remove(self) -> None:
        """See `Traffic`."""
        await self._new.remove()
        await self._old.remove()
