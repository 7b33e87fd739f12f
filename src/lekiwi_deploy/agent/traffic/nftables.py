"""Traffic through the kernel: a table of our own in nftables translates public ports to private ones (`ruleset.py`).

Nothing else of the machine's rules is touched, and whatever else it filters is in force as before. When somebody removes or changes
our table, that is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic import ruleset
from lekiwi_deploy.agent.traffic.nft import Nft, Said
from lekiwi_deploy.agent.traffic.nft_elements import NftElements
from lekiwi_deploy.agent.traffic.nft_events import NftEvents
from lekiwi_deploy.agent.traffic.ruleset import InForce
from lekiwi_deploy.agent.traffic.sock_diag import established, listeners
from lekiwi_deploy.agent.traffic.taken import taken
from lekiwi_deploy.content.durable import sync_path, write_durably
from lekiwi_deploy.errors import Failed

_NOTHING = InForce({}, frozenset(), whole=False)


class NftablesTraffic:
    """See `Traffic`. `lost` is called when somebody else changed our table: `open` and `lead` again. `leaving`: public ports that a
    relay still listens on, which is about to let go of them.

    `remove` leaves the file for the next boot alone: `keep_for_boot` of nothing removes that.
    """

    kind = "nftables"

    def __init__(self, paths: Paths, nft: Nft, *, lost: Callable[[], None], why: str = "") -> None:
        self.why = why
        self.leaving: Collection[int] = ()
        self._boot = paths.boot / "traffic.nft"
        self._nft = nft
        self._lost = lost
        self._now = _NOTHING
        self._events: NftEvents | None = None
        self._elements: NftElements | None = None
        self._turn = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None

    def targets(self) -> Mapping[int, int]:
        """See `Traffic`."""
        return dict(self._now.targets)

    async def open(self) -> None:
        """Find what is in force, and watch that it stays. Raises `Failed`."""
        async with self._turn:
            if self._events is None:
                events = NftEvents(self._somebody_changed)
                try:
                    events.open()
                except OSError as error:
                    raise Failed(f"the kernel does not tell of changes of its rules: {error.strerror}") from error
                self._events = events
            self._now = await self._in_force()

    async def lead(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`. Raises `Conflict`, `Failed`."""
        async with self._turn:
            now = self._now
            if now.whole and dict(targets) == now.targets:
                return
            for public in sorted(targets.keys() - now.targets.keys() - set(self.leaving)):
                if listeners(public):
                    raise taken(public)
            led = frozenset(targets.values()) | {port for port in now.led if listeners(port)}
            if not (now.whole and self._replaced(targets, led)):
                said = await self._load(ruleset.whole(targets, led))
                if not said.done:
                    raise Failed(f"nftables refused: {said.brief}")
            self._now = InForce(dict(targets), led, whole=True)

    async def connections(self, private: int) -> int:
        """See `Traffic`."""
        return established(private)

    async def keep_for_boot(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`. What `lekiwi-traffic.service` loads; no targets: there is nothing to load. Raises `OSError`."""
        if targets:
            missing = [folder for folder in (self._boot.parent, *self._boot.parents) if not folder.exists()]
            self._boot.parent.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                sync_path(folder.parent)
            write_durably(self._boot, ruleset.whole(targets, set(targets.values())).encode(), mode=0o644)
        elif self._boot.exists():
            self._boot.unlink()
            sync_path(self._boot.parent)

    async def close(self) -> None:
        """Watch no more; what is in force stays."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._elements is not None:
            self._elements.close()
            self._elements = None
        if self._looking is not None:
            self._looking.cancel()

    async def remove(self) -> None:
        """Take our table away. Raises `Failed`."""
        async with self._turn:
            said = await self._load(ruleset.REMOVE)
            if not said.done:
                raise Failed(f"our nftables table could not be removed: {said.brief}")
            self._now = _NOTHING
        await self.close()

    def _replaced(self, targets: Mapping[int, int], led: Collection[int]) -> bool:
        """False: it could not be done so (somebody took our table away just now), and nothing has changed."""
        try:
            if self._elements is None:
                self._elements = NftElements()
            if self._events is not None:
                self._events.ours(self._elements.port)
            self._elements.replace(targets, led)
        except OSError:
            return False
        return True

    async def _load(self, text: str) -> Said:
        said = await self._nft.load(text)
        if self._events is not None:
            self._events.ours(said.pid)
        return said

    async def _in_force(self) -> InForce:
        said = await self._nft.listing("table", *ruleset.TABLE.split())
        if not said.done:
            if "No such file or directory" in said.error:
                return _NOTHING
            raise Failed(f"nftables does not tell what is in force: {said.brief}")
        try:
            return ruleset.read(said.output)
        except msgspec.DecodeError as error:
            raise Failed(f"nft listed our table in a way that we cannot read: {error}") from error

    def _somebody_changed(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        async with self._turn:
            known = self._now
            try:
                self._now = await self._in_force()
            except Failed:
                self._now = _NOTHING
            if known != self._now:
                self._lost()
