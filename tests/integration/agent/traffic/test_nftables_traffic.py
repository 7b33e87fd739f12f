"""nftables in a network of the test's own: what the kernel does with connections of this machine and of another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from traffic_world import OTHER, ROBOT, ROBOT6, Wire, call, nft, program, until, who

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.nft import Nft, find_nft
from lekiwi_deploy.agent.traffic.nftables import NftablesTraffic
from lekiwi_deploy.agent.traffic.sock_diag import established
from lekiwi_deploy.errors import Conflict
from lekiwi_deploy.testing.machine_network import in_namespace

pytestmark = pytest.mark.root

PUBLIC = 8000
EVERYWHERE = ("0.0.0.0", "::")
LOCALLY = ("127.0.0.1", "::1")
OTHERS = """
table inet filter {
    chain input {
        type filter hook input priority 0; policy accept;
        tcp dport 22 counter accept
    }
}
table ip nat {
    chain prerouting {
        type nat hook prerouting priority -100; policy accept;
        tcp dport 81 redirect to :82
    }
}
table ip6 lekiwi {
    set mine {
        type inet_service
        elements = { 8000 }
    }
}
"""


@pytest.fixture
async def traffic(wire: Wire, paths: Paths, lost: list[str]) -> AsyncIterator[NftablesTraffic]:
    program = find_nft()
    assert program is not None
    traffic = NftablesTraffic(paths, Nft(program, set()), lost=lambda: lost.append("nftables"))
    await traffic.open()
    yield traffic
    await traffic.close()


async def answers(wire: Wire, port: int = PUBLIC) -> dict[str, str]:
    """Who answers on each way to the robot."""
    here = {address: await who(port, address) for address in ("127.0.0.1", "127.0.0.9", "::1", ROBOT, ROBOT6)}
    there = {f"other → {address}": await who(port, address, from_=wire.other) for address in (ROBOT, ROBOT6)}
    return here | there


async def test_every_way_to_the_robot_leads_to_a_service_that_listens_everywhere(
    wire: Wire, traffic: NftablesTraffic
) -> None:
    async with program("v1", *EVERYWHERE) as private:
        await traffic.lead({PUBLIC: private})
        assert set((await answers(wire)).values()) == {"v1"}


async def test_a_service_on_loopback_stays_the_robots_own(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1", *LOCALLY) as private:
        await traffic.lead({PUBLIC: private})
        assert {way for way, name in (await answers(wire)).items() if name == "v1"} == {"127.0.0.1", "::1"}


async def test_a_service_on_ipv4_only_is_there_on_ipv4_only(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1", "0.0.0.0") as private:
        await traffic.lead({PUBLIC: private})
        found = await answers(wire)
        assert {way for way, name in found.items() if name == "v1"} == {way for way in found if "::" not in way}


async def test_the_service_sees_who_calls(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1", *EVERYWHERE) as private:
        await traffic.lead({PUBLIC: private})
        caller = await call(PUBLIC, ROBOT, from_=wire.other)
        assert caller.seen_as == OTHER
        await caller.close()


async def test_a_private_port_is_closed_to_other_machines(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1", *EVERYWHERE) as one, program("v2", *EVERYWHERE) as two:
        await traffic.lead({PUBLIC: one})
        await traffic.lead({PUBLIC: two})
        for private, name in ((one, "v1"), (two, "v2")):
            found = await answers(wire, private)
            assert {found.pop(f"other → {address}") for address in (ROBOT, ROBOT6)} == {"nobody"}
            assert set(found.values()) == {name}, "the robot itself probes it there"


async def test_ports_of_others_are_not_closed(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1", *EVERYWHERE) as private, program("database", *EVERYWHERE, port=27017) as others:
        await traffic.lead({PUBLIC: private})
        assert await who(others, ROBOT, from_=wire.other) == "database"


async def test_a_private_port_that_nobody_has_any_more_is_forgotten(traffic: NftablesTraffic, wire: Wire) -> None:
    async with program("v2", *EVERYWHERE) as two:
        async with program("v1", *EVERYWHERE) as one:
            await traffic.lead({PUBLIC: one})
            await traffic.lead({PUBLIC: two})
        await traffic.lead({PUBLIC: two, 8001: two})
        assert str(one) not in nft("list", "set", "inet", "lekiwi", "led")


async def test_connections_of_the_robot_to_other_machines_are_left_alone(wire: Wire, traffic: NftablesTraffic) -> None:
    async with AsyncExitStack() as ends:
        with in_namespace(wire.other):
            await ends.enter_async_context(program("other", "0.0.0.0", port=PUBLIC))
        private = await ends.enter_async_context(program("v1", *EVERYWHERE))
        await traffic.lead({PUBLIC: private})
        assert await who(PUBLIC, OTHER) == "other"


async def test_established_connections_stay_and_new_ones_go_to_the_new(wire: Wire, traffic: NftablesTraffic) -> None:
    ways = [("127.0.0.1", None), ("::1", None), (ROBOT, wire.other), (ROBOT6, wire.other)]
    async with program("v1", *EVERYWHERE) as one, program("v2", *EVERYWHERE) as two:
        await traffic.lead({PUBLIC: one})
        early = [await call(PUBLIC, address, from_=from_) for address, from_ in ways]
        assert await traffic.connections(one) == len(ways)
        await traffic.lead({PUBLIC: two})
        late = [await call(PUBLIC, address, from_=from_) for address, from_ in ways]
        assert {caller.name for caller in early} == {"v1"} and {caller.name for caller in late} == {"v2"}
        for _ in range(3):
            assert all([await caller.echo(b"x" * 10_000) for caller in (*early, *late)])
        assert (await traffic.connections(one), await traffic.connections(two)) == (len(ways), len(ways))
        for caller in (*early, *late):
            await caller.close()
        await until("all are closed", lambda: established(one) == established(two) == 0)


async def test_fifty_switches_under_load_fail_nobody(wire: Wire, traffic: NftablesTraffic) -> None:
    seen: dict[str, int] = {"v1": 0, "v2": 0}
    over = asyncio.Event()

    async def calls(address: str, from_: Path | None) -> None:
        while not over.is_set():
            caller = await call(PUBLIC, address, from_=from_)
            assert await caller.echo(b"x" * 100)
            seen[caller.name] += 1
            await caller.close()

    async with program("v1", *EVERYWHERE) as one, program("v2", *EVERYWHERE) as two:
        await traffic.lead({PUBLIC: one})
        async with asyncio.TaskGroup() as group:
            for address, from_ in [("127.0.0.1", None), ("::1", None), (ROBOT, wire.other), (ROBOT6, wire.other)] * 2:
                group.create_task(calls(address, from_))
            for switch in range(50):
                before = sum(seen.values())
                await traffic.lead({PUBLIC: (two, one)[switch % 2]})
                await until("calls were answered", lambda before=before: sum(seen.values()) >= before + 10)  # type: ignore[misc]
            over.set()
    assert min(seen.values()) > 100


async def test_rules_of_others_are_not_touched(wire: Wire, paths: Paths, lost: list[str]) -> None:
    nft(OTHERS)
    before = nft("-a", "list", "ruleset")
    program_path = find_nft()
    assert program_path is not None
    traffic = NftablesTraffic(paths, Nft(program_path, set()), lost=lambda: lost.append("lost"))
    await traffic.open()
    async with program("v1") as one, program("v2") as two:
        await traffic.lead({PUBLIC: one, 8001: one})
        with_ours = nft("-a", "list", "ruleset")
        assert with_ours.startswith(before) and "table inet lekiwi" in with_ours
        await traffic.lead({PUBLIC: two})
        assert nft("-a", "list", "ruleset").startswith(before)
    await traffic.remove()
    assert nft("-a", "list", "ruleset") == before
    assert lost == []


async def test_removing_what_is_not_there_is_nothing(traffic: NftablesTraffic) -> None:
    await traffic.remove()
    assert nft("list", "ruleset") == ""


async def test_a_port_on_which_another_program_listens_is_refused_by_name(wire: Wire, traffic: NftablesTraffic) -> None:
    async with program("v1") as private, program("squatter", "127.0.0.5", port=PUBLIC):
        await traffic.lead({8001: private})
        with pytest.raises(Conflict) as refused:
            await traffic.lead({8001: private + 1, PUBLIC: private})
        assert f"port {PUBLIC}" in refused.value.message and "process" in refused.value.message
        assert traffic.targets() == {8001: private} and await who(8001) == "v1"


async def test_the_next_agent_finds_what_is_in_force(traffic: NftablesTraffic, paths: Paths) -> None:
    async with program("v1") as private:
        await traffic.lead({PUBLIC: private, 8001: private})
        await traffic.close()
        assert await who(PUBLIC) == "v1"
        program_path = find_nft()
        assert program_path is not None
        later = NftablesTraffic(paths, Nft(program_path, set()), lost=lambda: None)
        await later.open()
        assert later.targets() == {PUBLIC: private, 8001: private}
        await later.lead({PUBLIC: private})
        assert [await who(PUBLIC), await who(8001)] == ["v1", "nobody"]
        await later.remove()


@pytest.mark.parametrize(
    "command",
    ["flush ruleset", "delete table inet lekiwi", "flush map inet lekiwi ports", "flush chain inet lekiwi here"],
)
async def test_that_somebody_took_our_rules_away_is_noticed_and_mended(
    traffic: NftablesTraffic, lost: list[str], command: str
) -> None:
    async with program("v1") as private:
        await traffic.lead({PUBLIC: private})
        nft(*command.split())
        await until("the loss is told", lambda: lost)
        await traffic.open()
        await traffic.lead({PUBLIC: private})
        assert await who(PUBLIC) == "v1"
    assert lost == ["nftables"]


async def test_a_table_that_vanishes_just_before_a_change_is_made_again(traffic: NftablesTraffic) -> None:
    async with program("v1") as one, program("v2") as two:
        await traffic.lead({PUBLIC: one})
        nft("flush", "ruleset")
        await traffic.lead({PUBLIC: two})
        assert await who(PUBLIC) == "v2"


async def test_changes_of_others_and_our_own_are_no_loss(traffic: NftablesTraffic, lost: list[str]) -> None:
    async with program("v1") as one, program("v2") as two:
        await traffic.lead({PUBLIC: one})
        nft("add", "table", "ip", "somebody")
        await traffic.lead({PUBLIC: two})
        nft("add", "set", "ip", "somebody", "else", "{ type inet_service; }")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
    assert lost == []


async def test_what_is_kept_for_boot_is_loaded_by_nft_alone(traffic: NftablesTraffic, paths: Paths) -> None:
    file = paths.boot / "traffic.nft"
    async with program("v1") as one, program("v2") as two:
        await traffic.lead({PUBLIC: one})
        await traffic.keep_for_boot({PUBLIC: two})
        assert await who(PUBLIC) == "v1", "only for the next boot"
        for command in ("delete table inet lekiwi", f"-f {file}", f"-f {file}"):
            nft(*command.split())
        assert await who(PUBLIC) == "v2"
    await traffic.keep_for_boot({})
    assert list(paths.boot.iterdir()) == []
