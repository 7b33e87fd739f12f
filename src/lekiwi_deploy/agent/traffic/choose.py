"""Which way connections come to services here: through the kernel where it is ours to ask, through a relay process elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.input_filters import port_filter
from lekiwi_deploy.agent.traffic.nft import Nft, find_nft
from lekiwi_deploy.agent.traffic.nftables import NftablesTraffic
from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.ruleset import whole
from lekiwi_deploy.agent.traffic.taking_over import TakingOver
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.errors import BadInput, LekiwiError

VARIABLE = "LEKIWI_TRAFFIC"


async def choose(
    paths: Paths, *, lost: Callable[[], None], helpers: set[int], environment: Mapping[str, str] = os.environ
) -> Traffic:
    """What serves here; not opened yet. `lost` is called when what was in force is no more: `open` and `lead` again. `helpers`: process
    ids that somebody waits for (a reaper leaves them alone).

    `LEKIWI_TRAFFIC` in `environment` decides if it is there: `nftables` or `relay`; raises `BadInput` for another word, and when
    what it asks for cannot be had. Otherwise nftables on a robot that has the machine for itself (root folder `/`), where the kernel
    takes our rules and no firewall of the machine would be misled by them; else the relay. `why` of the answer says which it was.
    """
    forced = environment.get(VARIABLE, "")
    if forced not in ("", "nftables", "relay"):
        raise BadInput(f"{VARIABLE}={forced}: it is nftables or relay")
    asked_for = f"{VARIABLE}={forced}"
    program = find_nft()
    nft = Nft(program, helpers) if program is not None else None
    if forced == "relay":
        return await _relay(paths, lost, helpers, asked_for, nft)
    why_not = await _impossible(nft)
    if forced == "nftables":
        if why_not is not None or nft is None:
            raise BadInput(f"{asked_for}: {why_not}")
        return await _nftables(paths, lost, helpers, asked_for, nft)
    if paths.root != Path("/"):
        why = f"the robot's folder is {paths.root}, so it may not be the only one here"
        return RelayTraffic(paths, lost=lost, helpers=helpers, why=why)
    why_not = why_not or (await _misleading(nft) if nft is not None else None)
    if why_not is not None or nft is None:
        return await _relay(paths, lost, helpers, why_not or "", nft)
    return await _nftables(paths, lost, helpers, "", nft)


async def _nftables(paths: Paths, lost: Callable[[], None], helpers: set[int], why: str, nft: Nft) -> Traffic:
    traffic = NftablesTraffic(paths, nft, lost=lost, why=why)
    before = RelayTraffic(paths, lost=_nobody, helpers=helpers)
    await before.open()
    return TakingOver(traffic, before) if before.pid is not None else traffic


async def _relay(paths: Paths, lost: Callable[[], None], helpers: set[int], why: str, nft: Nft | None) -> Traffic:
    traffic = RelayTraffic(paths, lost=lost, helpers=helpers, why=why)
    if nft is None or paths.root != Path("/"):
        return traffic
    before = NftablesTraffic(paths, nft, lost=_nobody)
    try:
        await before.open()
    except LekiwiError:  # not ours to look into: then it was not ours to fill, either
        await before.close()
        return traffic
    if before.targets():
        return TakingOver(traffic, before)
    await before.close()
    return traffic


async def _impossible(nft: Nft | None) -> str | None:
    """Why nftables cannot serve here; nothing is changed by asking."""
    if nft is None:
        return "nft is not installed"
    if os.geteuid() != 0:
        return "only root may change nftables"
    said = await nft.load(whole({1: 1}, (1,)), only_check=True)
    return None if said.done else f"the kernel does not take our rules: {said.brief}"


async def _misleading(nft: Nft) -> str | None:
    """Which firewall of the machine would see private ports where it has rules for public ones."""
    try:
        old_tables = Path("/proc/net/ip_tables_names").read_text().split()
    except OSError:
        old_tables = []
    if "filter" in old_tables:
        return "the machine filters connections with the old iptables"
    said = await nft.listing("ruleset")
    if not said.done:
        return f"the machine's own rules cannot be read: {said.brief}"
    return port_filter(msgspec.json.decode(said.output))


def _nobody() -> None:
    pass
