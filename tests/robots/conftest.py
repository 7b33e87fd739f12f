"""Real robots: each boots a Debian of its own with systemd. Where they cannot run, tests here are skipped with the reason;
with `LEKIWI_REQUIRE_MACHINES=1` (as in .ci/run) that is a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_needs import why_not
from lekiwi_deploy.testing.machine_network import Lan

_REQUIRED = os.environ.get("LEKIWI_REQUIRE_MACHINES") == "1"
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker("systemd")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(900))  # the first one may have to make the base tree


@pytest.fixture(scope="session")
def image() -> MachineImage:
    """What all machines boot from."""
    reason = why_not()
    if reason is not None:
        if _REQUIRED:
            pytest.fail(f"robots with systemd are required here: {reason}")
        pytest.skip(f"no robots with systemd here: {reason}")
    return MachineImage.base()


@pytest.fixture
def lan(image: MachineImage) -> Iterator[Lan]:
    """A network of the test's own."""
    lan = Lan()
    yield lan
    lan.close()


@pytest.fixture
def machines(image: MachineImage, lan: Lan) -> Iterator[Machines]:
    """`machines("r1", disk=("ext4", 256))`: a machine that is not booted yet, on the test's network unless another is given."""
    home = lan
    with ExitStack() as ends:

        def make(name: str, *, disk: tuple[str, int] | None = None, lan: Lan | None = None) -> Machine:
            machine = Machine(name, lan=lan or home, image=image, disk=disk)
            ends.callback(machine.close)
            return machine

        yield make


@pytest.fixture
def machine(machines: Machines) -> Machine:
    """One machine, booted."""
    machine = machines("kiwi")
    machine.boot()
    return machine
