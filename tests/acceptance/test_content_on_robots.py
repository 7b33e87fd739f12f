"""What arrives on a robot is what was approved, or it does not run."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance_world import WEB_PORT, World, app

from lekiwi_deploy.testing.waiting import eventually

Worlds = Callable[[int], World]


def test_content_that_was_tampered_with_on_the_server_is_not_run(fragile_world: World) -> None:
    world = fragile_world
    world.release("one")
    late = world.add_robot(start=False)
    assert world.fleet.server.stop() == 0
    objects = [path for path in (world.fleet.server.data / "objects").rglob("*") if path.is_file()]
    assert objects
    for path in objects:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.chmod(0o644)
        path.write_bytes(data)
    world.fleet.server.start()
    late.start()

    def told() -> bool:
        said = world.lekiwi("status").ok().said
        return "SHA-256 is not" in said or "is damaged on the way" in said

    eventually("it says what it does not trust", told)
    assert late.current() is None
    assert not late.services()
    for robot in world.robots[:2]:
        robot.serves("one", port=WEB_PORT, within_s=1)


@pytest.fixture
def tiny_disk(open_folder: Path) -> Iterator[Path]:
    folder = open_folder / "tiny"
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs root that may mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.root
def test_a_full_disk_keeps_the_old_version_running_and_says_how_much_is_missing(
    world_with: Worlds, tiny_disk: Path
) -> None:
    world = world_with(0)
    robot = world.fleet.robot(f"{world.project}-small", port_offset=world.fleet.ports.take() - WEB_PORT)
    robot.root = tiny_disk / "robot"
    world.robots.append(robot)
    robot.add_and_join(world.anna, world.project)
    robot.start()
    world.all_online()
    one = world.release("one")
    world.code.commit("Too big", app("two", **{"model.txt": _noise(200_000)}))
    pushed = world.push().ok()
    assert "disk full" in pushed.err, pushed.err
    assert "disk full" in world.lekiwi("status").ok().said
    world.all_run(one, "one")
    world.code.git("rm", "-q", "model.txt").ok()
    three = world.release("three")
    world.all_run(three, "three")


def _noise(lines: int) -> str:
    import hashlib

    return "".join(hashlib.sha256(str(n).encode()).hexdigest() + "\n" for n in range(lines))


def test_slots_are_linked_out_of_the_robots_store(world_with: Worlds) -> None:
    world = world_with(1)
    robot = world.robots[0]
    one, two = world.release("one"), world.release("two")
    slots = robot.root / "opt/lekiwi/deployments"
    assert (slots / two.id / "code/clock.py").stat().st_nlink >= 2
    assert (slots / two.id / "code/clock.py").stat().st_ino == (slots / one.id / "code/clock.py").stat().st_ino
    metadata = robot.metadata(two.id)
    assert {"id", "version", "timestamp", "commit", "branch", "author", "rollback_to", "digest"} <= metadata.keys()
    assert (metadata["id"], metadata["rollback_to"]) == (two.id, one.id)
