import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from acceptance_world import World, end_robots, make_world, names

from lekiwi_deploy.testing.fleet import LocalFleet

_names = names()


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through: PostgreSQL may run as another one."""
    folder = Path(tempfile.mkdtemp(prefix="lekiwi-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_fleet(open_folder: Path) -> Iterator[LocalFleet]:
    """One server for all tests that do not harm it; each has its own project."""
    with LocalFleet(open_folder / "shared") as fleet:
        fleet.server.start()
        yield fleet


@pytest.fixture
def world_with(shared_fleet: LocalFleet) -> Iterator[Callable[[int], World]]:
    """`world_with(2)`: a project of its own with two robots."""
    with ExitStack() as ends:

        def make(robots: int) -> World:
            world = make_world(shared_fleet, next(_names), robots=robots)
            ends.callback(end_robots, world)
            return world

        yield make


@pytest.fixture
def fragile_world(open_folder: Path) -> Iterator[World]:
    """A server of its own, which may be killed, and two robots."""
    name = next(_names)
    with LocalFleet(open_folder / name) as fleet:
        fleet.server.start()
        yield make_world(fleet, name, robots=2)
