"""Which way is chosen where, and going from one to the other without losing a connection."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from traffic_world import Wire, call, ended, nft, program, until, who

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic import choose as choosing
from lekiwi_deploy.agent.traffic.choose import choose
from lekiwi_deploy.agent.traffic.nft import Nft, find_nft
from lekiwi_deploy.agent.traffic.nftables import NftablesTraffic
from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.taking_over import TakingOver
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.errors import BadInput

MACHINE = Paths(Path("/"))


async def chosen(paths: Paths, **environment: str) -> Traffic:
    return await choose(paths, lost=lambda: None, helpers=set(), environment=environment)


async def test_a_robot_with_a_folder_of_its_own_has_a_relay(paths: Paths) -> None:
    traffic = await chosen(paths)
    assert traffic.kind == "relay" and str(paths.root) in traffic.why


async def test_the_relay_can_be_asked_for(paths: Paths) -> None:
    traffic = await chosen(paths, LEKIWI_TRAFFIC="relay")
    assert (traffic.kind, traffic.why) == ("relay", "LEKIWI_TRAFFIC=relay")


@pytest.mark.parametrize("word", ["proxy", "Relay", "nft", "relay "])
async def test_another_word_is_refused(paths: Paths, word: str) -> None:
    with pytest.raises(BadInput, match="nftables or relay"):
        await chosen(paths, LEKIWI_TRAFFIC=word)


async def test_what_cannot_be_had_is_never_replaced_silently(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "find_nft", lambda: None)
    with pytest.raises(BadInput, match="LEKIWI_TRAFFIC=nftables: nft is not installed"):
        await chosen(paths, LEKIWI_TRAFFIC="nftables")
    traffic = await chosen(MACHINE)
    assert (traffic.kind, traffic.why) == ("relay", "nft is not installed")


@pytest.mark.root
async def test_a_robot_that_has_its_machine_for_itself_has_nftables(wire: Wire) -> None:
    traffic = await chosen(MACHINE)
    assert (traffic.kind, traffic.why) == ("nftables", "")
    assert nft("list", "ruleset") == "", "nothing is changed by asking"


@pytest.mark.root
async def test_a_firewall_that_goes_by_ports_is_not_led_astray(wire: Wire) -> None:
    nft("add table ip mine; add chain ip mine input { type filter hook input priority 0; policy drop; }")
    traffic = await chosen(MACHINE)
    assert traffic.kind == "relay" and "table ip mine, chain input" in traffic.why
    assert (await chosen(MACHINE, LEKIWI_TRAFFIC="nftables")).kind == "nftables", "whoever asks for it has seen to that"


@pytest.mark.root
async def test_from_relay_to_nftables_and_back_no_connection_is_lost(wire: Wire, paths: Paths) -> None:
    program_path = find_nft()
    assert program_path is not None and os.geteuid() == 0
    nobody = Nft(program_path, set())
    before = RelayTraffic(paths, lost=lambda: None)
    async with program("v1", "0.0.0.0", "::") as one, program("v2", "0.0.0.0", "::") as two:
        await before.lead({8000: one})
        pid, through_relay = before.pid, await call(8000)
        assert pid is not None
        await before.close()

        traffic = await chosen(paths, LEKIWI_TRAFFIC="nftables")
        assert isinstance(traffic, TakingOver) and traffic.kind == "nftables"
        await traffic.open()
        assert traffic.targets() == {8000: one}
        await traffic.lead({8000: two})
        assert traffic.targets() == {8000: two} and await who(8000) == "v2"
        assert await through_relay.echo(b"goes on")
        through_kernel = await call(8000)
        await through_relay.close()
        await until("the relay has ended", lambda: ended(pid))
        await traffic.close()

        back = TakingOver(RelayTraffic(paths, lost=lambda: None), NftablesTraffic(paths, nobody, lost=lambda: None))
        await back.open()
        assert (back.kind, back.targets()) == ("relay", {8000: two})
        await back.lead({8000: one})
        assert await who(8000) == "v1" and await through_kernel.echo(b"goes on")
        await through_kernel.close()
        await back.remove()
    assert nft("list", "ruleset") == ""
    assert await who(8000) == "nobody"
