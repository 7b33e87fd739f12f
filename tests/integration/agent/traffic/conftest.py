"""A robot's folder, and ways for connections to come to its services."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from traffic_world import Wire, on_robot

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.relay import RelayTraffic


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.make()
    return paths


@pytest.fixture
def lost() -> list[str]:
    """One entry for each time that something in force was lost."""
    return []


@pytest.fixture
async def relay(paths: Paths, lost: list[str]) -> AsyncIterator[RelayTraffic]:
    """A relay that leads nowhere yet."""
    traffic = RelayTraffic(paths, lost=lambda: lost.append("relay"))
    await traffic.open()
    yield traffic
    await traffic.remove()


@pytest.fixture
def wire() -> Iterator[Wire]:
    """The test runs on a robot with a network of its own."""
    if os.geteuid() != 0:
        pytest.skip("networks of their own are made by root only")
    if shutil.which("nft") is None or shutil.which("ip") is None:
        pytest.skip("needs nftables and iproute2 (apt-get install nftables iproute2)")
    with on_robot() as wire:
        yield wire
