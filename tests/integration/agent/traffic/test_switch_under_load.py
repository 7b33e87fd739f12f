"""A real service is replaced while it serves: nobody notices. (`make bench` does it twenty times, and takes the time.)"""

from __future__ import annotations

import pytest
from traffic_world import Wire, free_port

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.choose import choose
from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.testing.traffic_switches import switch_under_load


async def switched(traffic: Traffic, public: int, privates: tuple[int, int]) -> None:
    tally = await switch_under_load(
        traffic, "127.0.0.1", public, privates, switches=3, drain_s=1.0, alive=6, anew=3, sockets=8, life_s=0.05
    )
    assert tally.failed == []
    assert set(tally.answers) == {"v0", "v1", "v2", "v3"}
    assert tally.requests > 300 and tally.fresh > 30
    assert {version for version, _ in tally.cut} == {"v0", "v1", "v2"}, "some stayed until the deadline of each version"


async def test_no_request_fails_and_no_connection_is_cut_early_through_the_relay(relay: RelayTraffic) -> None:
    await switched(relay, free_port(), (free_port(), free_port()))


@pytest.mark.root
async def test_no_request_fails_and_no_connection_is_cut_early_through_nftables(wire: Wire, paths: Paths) -> None:
    traffic = await choose(paths, lost=lambda: None, helpers=set(), environment={"LEKIWI_TRAFFIC": "nftables"})
    await traffic.open()
    try:
        await switched(traffic, 8000, (24000, 24001))
    finally:
        await traffic.remove()
