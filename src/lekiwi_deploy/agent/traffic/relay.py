"""Traffic through a small process of its own (`relay_process.py`): where there is no nftables, or it is not ours to change.

The process is started with the first port, outlives the agent, and is found again at its socket. The service sees connections come from
this machine (127.0.0.1 or ::1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.relay_link import RelayLink, bury, find, start
from lekiwi_deploy.agent.traffic.relay_unit import has_systemd, start_unit, stop_unit
from lekiwi_deploy.agent.traffic.relay_words import read_targets, targets_line
from lekiwi_deploy.agent.traffic.sock_diag import established
from lekiwi_deploy.agent.traffic.taken import cannot_listen
from lekiwi_deploy.content.durable import sync_path
from lekiwi_deploy.errors import Failed, Unavailable


class RelayTraffic:
    """See `Traffic`. `lost` is called when the process has ended without having been asked to: nothing is in force then; `open` and
    `lead` again."""

    kind = "relay"

    def __init__(
        self, paths: Paths, *, lost: Callable[[], None], helpers: set[int] | None = None, why: str = ""
    ) -> None:
        self.why = why
        self._helpers = helpers if helpers is not None else set()
        self._as_unit = has_systemd(paths)
        self._path = paths.run / "relay.sock"
        self._boot = paths.boot / "traffic.nft"
        self._log = paths.run / "relay.log"
        self._lost = lost
        self._targets: dict[int, int] = {}
        self._link: RelayLink | None = None
        self._turn = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process, when there is one."""
        return self._link.pid if self._link is not None else None

    def targets(self) -> Mapping[int, int]:
        """See `Traffic`."""
        return dict(self._targets)

    async def open(self) -> None:
        """Find the process that an earlier agent left, if it did. Raises `Failed`."""
        async with self._turn:
            if self._link is None:
                await self._find()

    async def lead(self, targets: Mapping[int, int]) -> None:
        """See `Traffic`. Raises `Conflict`, `NotAllowed`, `Failed`."""
        async with self._turn:
            if dict(targets) == self._targets:
                return
            try:
                await self._lead(targets)
            except Unavailable:  # it ended just now, for instance because it had no port left
                self._link, self._targets = None, {}
                await self._lead(targets)

    async def connections(self, private: int) -> int:
        """See `Traffic`."""
        return established(private)

    async def keep_for_boot(self, targets: Mapping[int, int]) -> None:
        """At boot there is no relay before the agent starts one; what nftables was to load there is not loaded any more. Raises
        `OSError`."""
        if self._boot.exists():
            self._boot.unlink()
            sync_path(self._boot.parent)

    async def close(self) -> None:
        """Let go of the process; it goes on."""
        async with self._turn:
            if self._link is not None:
                self._link.close()
                self._link = None

    async def remove(self) -> None:
        """End the process, and the connections that go through it. Raises `Failed`."""
        async with self._turn:
            if self._link is None:
                await self._find()
            if self._link is not None:
                await self._link.end()
            self._link, self._targets = None, {}
            if self._as_unit:
                await stop_unit(self._helpers)
            self._path.unlink(missing_ok=True)
            self._log.unlink(missing_ok=True)

    async def _lead(self, targets: Mapping[int, int]) -> None:
        if self._link is None:
            if not targets:
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._as_unit:
                await start_unit(self._path, self._helpers)
            else:
                start(self._path, self._log)
            await self._find()
        if self._link is None:
            raise Failed(f"the relay process ended at once: {self._last_words()}")
        self._link.may_end = not targets
        answer = (await self._link.ask(targets_line("lead", targets))).split()
        match answer:
            case ["ok"]:
                self._targets = dict(targets)
            case ["taken", port, code]:
                self._link.may_end = not self._targets
                raise cannot_listen(int(port), int(code))
            case _:
                raise Failed(f"the relay process {self._link.pid} did not understand: {' '.join(answer)}")

    async def _find(self) -> None:
        link = await find(self._path, self._gone)
        if link is None:
            return
        try:
            if await link.greet():
                self._targets = read_targets((await link.ask(b"targets\n")).split()[1:])
                self._link = link
            else:
                await link.end()  # an older or newer agent's, with words of its own
        except Unavailable:
            pass

    def _gone(self, link: RelayLink) -> None:
        if self._link is link:
            self._link, self._targets = None, {}
            bury(link.pid)
            if not link.may_end:
                self._lost()

    def _last_words(self) -> str:
        try:
            return self._log.read_text(errors="replace").strip().splitlines()[-1]
        except (OSError, IndexError):
            return "it said nothing"
