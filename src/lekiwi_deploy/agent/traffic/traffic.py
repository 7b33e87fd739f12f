"""What the agent asks of whatever brings connections to services: the kernel (`nftables.py`) or a small relay process (`relay.py`).

A service with `port: 8000` listens on a private port; connections to 8000, from this machine and from others, are brought there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Traffic(Protocol):
    """Which private port each public port leads to. All changes are atomic: a connection goes to the old or to the new, never to none."""

    kind: str
    """`nftables` or `relay`, as `lekiwi-agent status` and `doctor` show it."""

    why: str
    """Why it is this kind, in one line; empty: there is nothing to explain."""

    def targets(self) -> Mapping[int, int]:
        """Public port → private port, as it is in force (after a restart of the agent: as found)."""
        ...

    async def open(self) -> None:
        """Find what is in force already, start what is needed. Raises `LekiwiError`."""
        ...

    async def lead(self, targets: Mapping[int, int]) -> None:
        """Make exactly these in force, all at once. New connections go there from now on; established ones stay where they are.
        Raises `LekiwiError` (another program listens on a public port, …); then nothing has changed."""
        ...

    async def connections(self, private: int) -> int:
        """How many established connections a private port has, through whatever way."""
        ...

    async def keep_for_boot(self, targets: Mapping[int, int]) -> None:
        """These are in force at boot before the services start, without the agent; durable on return."""
        ...

    async def close(self) -> None:
        """Let go; what is in force stays in force."""
        ...

    async def remove(self) -> None:
        """Leave nothing behind."""
        ...
