"""A unit whose variables the server gave: nothing of a value in its text, its name or a boot set; opened at boot exactly as the agent writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.signing import SigningKey
from sample_launches import ground, launch

from lekiwi_deploy.agent.config import write_key
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, Sealed
from lekiwi_deploy.agent.supervisors.systemd.boot import BootSets
from lekiwi_deploy.agent.supervisors.systemd.files import UnitFiles
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.supervisors.systemd.sealed_unit import open_variables
from lekiwi_deploy.agent.supervisors.systemd.unit import Unit, service_unit
from lekiwi_deploy.errors import BadInput, Failed
from lekiwi_deploy.wire.sealing import seal
from lekiwi_deploy.wire.variables import SealedVariables

SEED = bytes(range(32))
VALUE = 'secret"123\n%n $HOME'


def sealed_launch(
    value: str = VALUE, *, service: str = "web", trouble: str | None = None, seed: bytes = SEED
) -> Launch:
    blob = seal({"API_KEY": value, "OTHER": "not-declared"}, SigningKey(seed).verify_key.encode())
    given = SealedVariables(environment="production", revision=1, sealed=blob, secrets=("API_KEY",))
    environment = {"PATH": "/usr/bin", "OWN": "plain", **({} if trouble else {"API_KEY": value})}
    return launch(service, environment=environment, sealed=Sealed(given, {"API_KEY": "f" * 32}, trouble))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.boot.mkdir(parents=True)
    write_key(paths, SEED)
    return paths


def kept(paths: Paths, *launches: Launch) -> list[Unit]:
    units = [service_unit(one, ground()) for one in launches]
    BootSets(Places(paths.root)).keep(units, ())
    return units


def test_neither_name_nor_text_depends_on_a_value_but_on_what_stands_for_it() -> None:
    one, other = service_unit(sealed_launch(), ground()), service_unit(sealed_launch("another-value"), ground())
    assert (one.name, one.text) == (other.name, other.text)
    assert one.name == service_unit(sealed_launch(trouble="damaged"), ground()).name
    assert VALUE not in repr((one, other))


def test_only_a_unit_with_sealed_variables_waits_until_they_are_opened() -> None:
    assert "lekiwi-variables.service" in service_unit(sealed_launch(), ground()).text
    assert "lekiwi-variables.service" not in service_unit(launch(), ground()).text


def test_a_boot_set_holds_no_value_and_the_boot_opens_what_the_agent_would_write(paths: Paths) -> None:
    (unit,) = kept(paths, sealed_launch())
    for path in paths.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"secret" not in path.read_bytes().replace(b'"secrets"', b"")
    said: list[str] = []
    assert open_variables(paths, said.append) == 0
    assert said == []
    opened = Places(paths.root).environment(unit.name)
    assert opened.stat().st_mode & 0o777 == 0o600
    assert sorted(opened.read_text().split('"\n')) == sorted(unit.variables.split('"\n'))
    assert "not-declared" not in opened.read_text()


def test_what_cannot_be_opened_at_boot_gets_no_file_and_the_others_do(paths: Paths) -> None:
    units = kept(paths, sealed_launch(seed=bytes(32)), sealed_launch(service="eyes"))
    said: list[str] = []
    assert open_variables(paths, said.append) == 1
    places = Places(paths.root)
    assert [places.environment(unit.name).exists() for unit in units] == [False, True]
    assert "sealed for another key" in said[0]
    assert "secret" not in said[0]


def test_the_agent_starts_nothing_without_them(paths: Paths) -> None:
    files = UnitFiles(Places(paths.root))
    files.make()
    with pytest.raises(Failed, match="damaged"):
        files.write(service_unit(sealed_launch(trouble="their file is damaged"), ground()))
    assert files.units() == set()


def test_an_error_about_a_value_does_not_show_it() -> None:
    with pytest.raises(BadInput) as caught:
        service_unit(launch(environment={"API_KEY": "secret\r123"}), ground())
    assert "API_KEY" in caught.value.message
    assert "secret" not in caught.value.message
