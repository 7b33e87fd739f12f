from pathlib import Path

import pytest

from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Failed, NotFound


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    for name in ("1.0-a", "1.1-b", "1.2-c"):
        (releases.folder(paths) / name / "bin").mkdir(parents=True)
        (releases.folder(paths) / name / "bin/lekiwi-agent").write_text(name)
    return paths


def test_the_release_in_use_is_what_current_names(paths: Paths) -> None:
    assert releases.in_use(paths) is None
    releases.use(paths, "1.0-a")
    releases.use(paths, "1.1-b")
    assert releases.in_use(paths) == "1.1-b"
    assert sorted(path.name for path in releases.folder(paths).iterdir()) == ["1.0-a", "1.1-b", "1.2-c", "current"]


def test_a_release_that_is_not_there_cannot_be_used(paths: Paths) -> None:
    releases.use(paths, "1.0-a")
    with pytest.raises(NotFound, match=r"no release 9\.9"):
        releases.use(paths, "9.9")
    assert releases.in_use(paths) == "1.0-a"


def test_what_an_interrupted_switch_left_does_no_harm(paths: Paths) -> None:
    (releases.folder(paths) / ".current.new").symlink_to("1.0-a")
    releases.use(paths, "1.1-b")
    assert releases.in_use(paths) == "1.1-b"


def test_the_command_leads_through_current_to_whatever_is_in_use(paths: Paths) -> None:
    releases.use(paths, "1.0-a")
    program = releases.put_on_path(paths)
    assert program == paths.root / "usr/local/bin/lekiwi-agent"
    assert program.read_text() == "1.0-a"
    releases.use(paths, "1.1-b")
    assert releases.put_on_path(paths).read_text() == "1.1-b"


def test_a_program_of_somebody_else_is_not_replaced(paths: Paths) -> None:
    program = paths.root / "usr/local/bin/lekiwi-agent"
    program.parent.mkdir(parents=True)
    program.write_text("mine")
    releases.use(paths, "1.0-a")
    with pytest.raises(Failed, match="is not ours"):
        releases.put_on_path(paths)
    assert program.read_text() == "mine"


def test_only_releases_that_are_needed_stay(paths: Paths) -> None:
    releases.use(paths, "1.2-c")
    releases.forget_others(paths, {"1.1-b", None})
    assert sorted(path.name for path in releases.folder(paths).iterdir()) == ["1.1-b", "1.2-c", "current"]
