"""The wheel without extras is enough for a robot and for a person."""

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from acceptance_world import WEB_PORT, World

from lekiwi_deploy.testing.programs import HERE, Installation
from lekiwi_deploy.testing.robot import LocalRobot

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A clean virtual environment with the built wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("light")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    at = Installation(folder / "venv/bin")
    uv = HERE.bin / "uv"
    subprocess.run(
        [uv, "pip", "install", "-q", "-p", at.python, str(wheel)], check=True, capture_output=True, text=True
    )
    return at


def test_the_servers_libraries_are_not_there(light: Installation) -> None:
    heavy = ["litestar", "psycopg", "alembic", "sqlalchemy", "obstore", "yaml", "uvicorn"]
    code = f"import importlib.util; print([name for name in {heavy} if importlib.util.find_spec(name)])"
    assert subprocess.run([light.python, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_robot_installed_without_extras_is_updated_and_taken_back(
    world_with: Callable[[int], World], light: Installation
) -> None:
    world = world_with(0)
    world.anna.at = light
    robot = LocalRobot(
        f"{world.project}-light",
        world.fleet.folder / "robots/light",
        port_offset=world.fleet.ports.take() - WEB_PORT,
        at=light,
    )
    world.fleet.robots.append(robot)
    world.robots.append(robot)
    robot.add_and_join(world.anna, world.project)
    robot.start()
    world.all_online()
    one, two = world.release("one"), world.release("two")
    world.all_run(two, "two")
    world.lekiwi("rollback").ok()
    robot.serves(f"one {one.id}", port=WEB_PORT, within_s=1)


def test_lekiwi_server_without_the_extra_says_what_to_install(light: Installation) -> None:
    ran = subprocess.run([light.lekiwi, "server"], check=False, capture_output=True, text=True)
    assert ran.returncode != 0
    assert "lekiwi-deploy[server]" in ran.stderr
    assert "Traceback" not in ran.stderr
