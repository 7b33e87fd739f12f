"""Whether an installation joins, and what it refuses before anything on the machine is touched."""

from pathlib import Path

import pytest

from lekiwi_deploy.agent.config import AgentConfig, write_config
from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.install.installing import Wish, install
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId

HERE = "https://deploy.example.org"


def unpacked(root: Path, name: str = "1.0-a") -> Paths:
    paths = Paths(root)
    (releases.folder(paths) / name / "bin").mkdir(parents=True)
    (releases.folder(paths) / name / "bin/lekiwi-agent").write_text("")
    return paths


def robot(root: Path, server: str = HERE) -> Paths:
    paths = unpacked(root)
    config = AgentConfig(
        server=server,
        server_id="srv_1",
        robot=RobotId("kiwi-1"),
        project=ProjectName("kiwi"),
        environment=EnvironmentName("lab"),
    )
    write_config(paths, config)
    return paths


def untouched(paths: Paths) -> bool:
    return releases.in_use(paths) is None and not paths.journal.exists()


def test_a_machine_that_is_no_robot_needs_a_token(tmp_path: Path) -> None:
    paths = unpacked(tmp_path)
    with pytest.raises(NotFound, match="no robot yet"):
        install(paths, Wish(release="1.0-a"), lambda _: None)
    assert untouched(paths)


def test_a_token_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--server"):
        install(unpacked(tmp_path), Wish(release="1.0-a", token="lkd_enr_x"), lambda _: None)


def test_a_robot_of_another_server_stays_one_unless_that_is_meant(tmp_path: Path) -> None:
    paths = robot(tmp_path, "https://other.example.org")
    with pytest.raises(Conflict, match=r"kiwi-1 of https://other\.example\.org already") as caught:
        install(paths, Wish(release="1.0-a", server=HERE, token="lkd_enr_x"), lambda _: None)
    assert "add --again" in caught.value.next[0]
    assert untouched(paths)


def test_again_needs_a_token(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--again needs a token"):
        install(robot(tmp_path), Wish(release="1.0-a", again=True), lambda _: None)


def test_an_agent_that_was_installed_in_another_way_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"run the install\.sh"):
        install(robot(tmp_path), Wish(), lambda _: None)


def test_a_robot_is_upgraded_without_joining_again(tmp_path: Path) -> None:
    paths = robot(tmp_path)
    said: list[str] = []
    done = install(paths, Wish(release="1.0-a", server=HERE, token="lkd_enr_unused"), said.append)
    assert (done.joined, done.linked, done.before, done.release) == (False, None, None, "1.0-a")
    assert (paths.root / "usr/local/bin/lekiwi-agent").exists()
    (releases.folder(paths) / "1.1-b/bin").mkdir(parents=True)
    (releases.folder(paths) / "1.1-b/bin/lekiwi-agent").write_text("")
    again = install(paths, Wish(release="1.1-b"), said.append)
    assert (again.before, again.release) == ("1.0-a", "1.1-b")
    assert "is 1.1-b, was 1.0-a" in said[-1]
    assert (releases.folder(paths) / "1.0-a").exists(), "the one before is kept, to go back to"
