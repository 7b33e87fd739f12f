from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from sample_launches import ground, launch

from lekiwi_deploy.agent.supervisors.systemd.boot import BootSets
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.supervisors.systemd.unit import Unit, service_unit

WANTS = "etc/systemd/system/lekiwi.target.d/services.conf"


def units(*services: str, value: str = "1") -> list[Unit]:
    return [service_unit(launch(service=name, environment={"A": value}), ground()) for name in services]


def boots(root: Path) -> dict[str, str]:
    """What systemd would start: unit → its variables."""
    found = {}
    for line in (root / WANTS).read_text().splitlines():
        if line.startswith("Wants="):
            name = line.removeprefix("Wants=")
            assert (root / "etc/systemd/system" / name).read_text().startswith("[Unit]")
            found[name] = (root / "etc/lekiwi/boot/current/run/env" / name).read_text()
    return found


@pytest.fixture
def sets(tmp_path: Path) -> BootSets:
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/ssh.service").write_text("other")
    return BootSets(Places(tmp_path))


def test_exactly_what_is_kept_is_started_at_boot(sets: BootSets, tmp_path: Path) -> None:
    first = units("web", "base")
    sets.keep(first, ["motors"])
    assert boots(tmp_path) == {unit.name: unit.variables for unit in first}
    second = units("web", value="2")
    sets.keep(second, [])
    assert boots(tmp_path) == {unit.name: unit.variables for unit in second}
    left = {path.name for path in (tmp_path / "etc/systemd/system").iterdir()}
    assert left == {second[0].name, "ssh.service", "lekiwi.target.d"}
    assert len(list((tmp_path / "etc/lekiwi/boot/sets").iterdir())) == 1


def test_variables_are_for_root_alone(sets: BootSets, tmp_path: Path) -> None:
    (unit,) = units("web")
    sets.keep([unit], ["motors"])
    current = tmp_path / "etc/lekiwi/boot/current"
    assert stat.S_IMODE((current / "run/env" / unit.name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "etc/lekiwi/boot").stat().st_mode) == 0o700
    assert stat.S_IMODE((current / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((current / "run/locks").stat().st_mode) == 0o700
    assert stat.S_IMODE((current / "run/locks/motors").stat().st_mode) == 0o666


def test_forwarded_ports_belong_to_the_set(sets: BootSets, tmp_path: Path) -> None:
    rules = tmp_path / "etc/lekiwi/boot/traffic.nft"
    rules.parent.mkdir(parents=True)
    rules.write_text("one")
    sets.keep(units("web"), [])
    assert (tmp_path / "etc/lekiwi/boot/current/traffic.nft").read_text() == "one"
    rules.write_text("two")
    assert (tmp_path / "etc/lekiwi/boot/current/traffic.nft").read_text() == "one"
    sets.keep(units("web"), [])
    assert (tmp_path / "etc/lekiwi/boot/current/traffic.nft").read_text() == "two"


def test_the_same_again_writes_nothing(sets: BootSets, tmp_path: Path) -> None:
    sets.keep(units("web"), [])
    before = (tmp_path / "etc/lekiwi/boot/current").readlink()
    sets.keep(units("web"), [])
    assert (tmp_path / "etc/lekiwi/boot/current").readlink() == before


def test_a_damaged_set_is_written_again(sets: BootSets, tmp_path: Path) -> None:
    (unit,) = units("web")
    sets.keep([unit], [])
    (tmp_path / "etc/systemd/system" / unit.name).write_text("")
    sets.keep([unit], [])
    assert boots(tmp_path) == {unit.name: unit.variables}


def test_nothing_kept_starts_nothing(sets: BootSets, tmp_path: Path) -> None:
    sets.keep(units("web"), [])
    sets.keep([], [])
    assert boots(tmp_path) == {}


class Cut(BaseException):
    """The power is gone."""


def test_whenever_it_is_interrupted_all_of_the_old_or_all_of_the_new_boots(
    sets: BootSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = units("web", "base"), units("web", "eyes", value="2")
    wanted = [{unit.name: unit.variables for unit in each} for each in (old, new)]
    sets.keep(old, ["motors"])
    calls = ["open", "write", "fsync", "symlink", "replace", "unlink", "mkdir", "chmod", "rmdir"]
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # what is flushed when is for the test that cuts the power
    real = {name: getattr(os, name) for name in calls}
    seen = []
    for at in range(1, 1000):
        count = 0

        def cut(name: str, count_at: int = at) -> object:
            def instead(*args: object, **kwargs: object) -> object:
                nonlocal count
                count += 1
                if count == count_at:
                    raise Cut
                return real[name](*args, **kwargs)

            return instead

        with monkeypatch.context() as patched:
            for name in calls:
                patched.setattr(os, name, cut(name))
            try:
                sets.keep(new, ["eyes"])
                done = True
            except Cut:
                done = False
        seen.append(boots(tmp_path))
        assert seen[-1] in wanted, at
        if done:
            break
        sets.keep(old, ["motors"])
        assert boots(tmp_path) == wanted[0]
    assert seen[-1] == wanted[1]
    assert len(seen) > 20
    assert wanted[1] in seen[:-1]
