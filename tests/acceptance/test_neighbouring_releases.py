"""The release before beside this one: its agent with this server, this agent with its server.

The release before is `PREVIOUS_LEKIWI` (any revision), else the newest tag `v…`, else the last commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from acceptance_world import WEB_PORT, World, end_robots, make_world

from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.programs import Installation
from lekiwi_deploy.testing.robot import LocalRobot
from lekiwi_deploy.testing.waiting import eventually

REPOSITORY = Path(__file__).parents[2]
_PROGRAM = (
    '#!/bin/sh\nPYTHONPATH={source} exec {python} -c "import sys; from {module} import main; sys.exit(main())" "$@"\n'
)
_PYTHON = '#!/bin/sh\nPYTHONPATH={source} exec {python} "$@"\n'


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The release before, with the dependencies of this one."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no git checkout, so there is no release before")
    revision = (
        os.environ.get("PREVIOUS_LEKIWI")
        or (_git("tag", "--list", "v*", "--sort=-v:refname").splitlines() or ["HEAD"])[0]
    )
    folder = tmp_path_factory.mktemp("before")
    folder.chmod(0o755)
    archive = folder / "source.tar"
    _git("archive", "--output", str(archive), revision, "src")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    programs = folder / "bin"
    programs.mkdir()
    for name, module in (("lekiwi", "lekiwi_deploy.cli.main"), ("lekiwi-agent", "lekiwi_deploy.agent.main")):
        text = _PROGRAM.format(source=folder / "src", python=sys.executable, module=module)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (programs / "python").write_text(_PYTHON.format(source=folder / "src", python=sys.executable))
    (programs / "python").chmod(0o755)
    return Installation(programs)


def _robot(world: World, at: Installation | None) -> LocalRobot:
    offset = world.fleet.ports.take() - WEB_PORT
    folder = world.fleet.folder / "robots" / f"{world.project}-n"
    robot = LocalRobot(folder.name, folder, port_offset=offset, **({"at": at} if at is not None else {}))
    world.fleet.robots.append(robot)
    world.robots.append(robot)
    robot.add_and_join(world.anna, world.project)
    robot.start()
    world.all_online()
    return robot


def _works(world: World) -> None:
    one, two = world.release("one"), world.release("two")
    world.all_run(two, "two")
    world.lekiwi("rollback").ok()
    for robot in world.robots:
        robot.serves(f"one {one.id}", port=WEB_PORT, within_s=5)


def test_the_agent_before_works_with_this_server(world_with: Callable[[int], World], before: Installation) -> None:
    world = world_with(0)
    robot = _robot(world, before)
    _works(world)
    asked = world.lekiwi("robots", "upgrade", robot.name, "--timeout", "60s")
    assert "skipped" in asked.out, asked.out + asked.err


def test_this_agent_works_with_the_server_before(open_folder: Path, before: Installation) -> None:
    with LocalFleet(open_folder / "server-before", at=before) as fleet:
        fleet.server.start()
        world = make_world(fleet, "kiwi-before", robots=0)
        try:
            robot = _robot(world, Installation(Path(sys.executable).parent))
            _works(world)
            eventually("its logs arrive", lambda: "greeting is one" in world.lekiwi("logs", "--robot", robot.name).out)
        finally:
            end_robots(world)
