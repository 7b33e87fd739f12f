"""Which way connections come to services here: through the kernel where it is ours to ask, through a relay process elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.errors import BadInput

VARIABLE = "LEKIWI_TRAFFIC"


async def choose(
    paths: Paths, *, lost: Callable[[], None], helpers: set[int], environment: Mapping[str, str] = os.environ
) -> Traffic:
    """What serves here; not opened yet. `lost` is called when what was in force is no more: `open` and `lead` again. `helpers`: process ids
    that somebody waits for (a reaper leaves them alone).

    `LEKIWI_TRAFFIC` in `environment` decides if it is there: `nftables` or `relay`; raises `BadInput` for another word, and when
    what it asks for cannot be had. Otherwise nftables on a robot that has the machine for itself (root folder `/`), run by root, where
    the kernel takes our rules; else a relay.
    """
    forced = environment.get(VARIABLE, "")
    if forced not in ("", "nftables", "relay"):
        raise BadInput(f"{VARIABLE}={forced}: it is nftables or relay")
    if forced == "nftables":
        raise BadInput(f"{VARIABLE}=nftables: this agent has only the relay yet")
    return RelayTraffic(paths, lost=lost)
