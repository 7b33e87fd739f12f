from pathlib import Path

import pytest

from lekiwi_deploy.agent.install.uninstalling import belongings, kept, uninstall
from lekiwi_deploy.agent.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.make()
    (paths.state / "base").mkdir()
    (paths.state / "base/calibration.json").write_text("{}")
    (paths.root / "opt/lekiwi/agent/1.0-a/bin").mkdir(parents=True)
    (paths.root / "opt/lekiwi/agent/current").symlink_to("1.0-a")
    units = paths.root / "etc/systemd/system"
    (units / "lekiwi.target.wants").mkdir(parents=True)
    (units / "multi-user.target.wants").mkdir()
    for name in ("lekiwi-agent.service", "lekiwi.target", "kiwi.service", "lekiwifi.service"):
        (units / name).write_text("")
    (units / "lekiwi.target.wants/lekiwi-base-12345678.service").symlink_to("../lekiwi-base-12345678.service")
    (units / "multi-user.target.wants/lekiwi-agent.service").symlink_to("../lekiwi-agent.service")
    (units / "multi-user.target.wants/kiwi.service").symlink_to("../kiwi.service")
    program = paths.root / "usr/local/bin/lekiwi-agent"
    program.parent.mkdir(parents=True)
    program.symlink_to("../../../opt/lekiwi/agent/current/bin/lekiwi-agent")
    return paths


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_only_what_belongs_to_others_is_left(paths: Paths) -> None:
    done = uninstall(paths, keep_state=False, say=lambda _: None)
    assert files(paths.root) == {
        "etc/systemd/system/kiwi.service",
        "etc/systemd/system/lekiwifi.service",
        "etc/systemd/system/multi-user.target.wants/kiwi.service",
    }
    assert done.kept == ()
    assert belongings(paths, keep_state=False) == []


def test_what_services_learnt_is_kept_when_asked_for(paths: Paths) -> None:
    assert "what its services learnt" in kept(paths, keep_state=True)[0]
    uninstall(paths, keep_state=True, say=lambda _: None)
    assert (paths.state / "base/calibration.json").exists()
    assert not paths.lekiwi.exists()


def test_a_second_time_there_is_nothing_to_do(paths: Paths) -> None:
    uninstall(paths, keep_state=False, say=lambda _: None)
    assert uninstall(paths, keep_state=False, say=lambda _: None).removed == ()


def test_a_command_that_leads_elsewhere_is_not_ours(paths: Paths) -> None:
    program = paths.root / "usr/local/bin/lekiwi-agent"
    program.unlink()
    program.symlink_to("/opt/mine/bin/lekiwi-agent")
    uninstall(paths, keep_state=False, say=lambda _: None)
    assert program.is_symlink()
