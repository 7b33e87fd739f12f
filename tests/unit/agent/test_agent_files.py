"""The agent's own files: journal, configuration, key, variables."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lekiwi_deploy.agent import journal as journal_module
from lekiwi_deploy.agent.config import AgentConfig, read_config, read_key, read_variables, write_config, write_key
from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Conflict, Failed, NotFound
from lekiwi_deploy.robot.ledger import Ledger, SlotRecord, Trial
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import DeploymentRef, TrialPolicy

A = DeploymentId("dep_AAAAAAAA")
REF = DeploymentRef(
    id=A, digest=ManifestDigest("0" * 64), manifest_size=1, version="v1", created_at=datetime(2026, 1, 1, tzinfo=UTC)
)
LEDGER = Ledger(
    generation=7,
    slots={A: SlotRecord(ref=REF, state=SlotState.TRIAL)},
    live=A,
    trial=Trial(deployment=A, generation=7, boot="b", policy=TrialPolicy(), baseline=(("web", "http :80/"),)),
)


def test_the_journal_gives_back_what_was_saved(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    assert journal.load() is None
    journal.save(LEDGER)
    assert Journal(tmp_path / "journal.json").load() == LEDGER


@pytest.mark.parametrize("data", [b"", b"{", b'{"slots": 5}', b"\xff", b'{"schema": 99}'])
def test_a_damaged_or_newer_journal_is_recognised(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt):
        Journal(path).load()
    assert Journal(path).set_aside().read_bytes() == data


def test_fields_that_a_newer_agent_added_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(b'{"schema": 1, "generation": 3, "colour": "red"}')
    ledger = Journal(path).load()
    assert ledger is not None and ledger.generation == 3


def test_a_full_disk_is_answered_with_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.save(Ledger())
    journal.keep_reserve()
    reserve = tmp_path / "reserve"
    assert reserve.stat().st_size == journal_module.RESERVE_BYTES
    real = journal_module.write_durably

    def full(path: Path, data: bytes, **more: Any) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data, **more)

    monkeypatch.setattr(journal_module, "write_durably", full)
    journal.save(LEDGER)
    assert journal.load() == LEDGER


def test_a_root_that_never_joined_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="never joined"):
        read_config(Paths(tmp_path))


def test_configuration_and_key_come_back(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    config = AgentConfig(
        server="https://x",
        server_id="srv",
        robot=RobotId("r"),
        project=ProjectName("p"),
        environment=EnvironmentName("e"),
        port_offset=5,
    )
    write_config(paths, config)
    write_key(paths, b"k" * 32)
    assert read_config(paths) == config
    assert read_key(paths) == b"k" * 32


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write_key(paths, b"k" * 32)
    paths.key.chmod(0o644)
    with pytest.raises(Conflict, match="can be read by others"):
        read_key(paths)


def test_a_missing_or_odd_key_is_told(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    with pytest.raises(Failed, match="missing"):
        read_key(paths)
    write_key(paths, b"short")
    with pytest.raises(Failed, match="no key"):
        read_key(paths)


def test_variables_are_lines_of_names_and_values(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert read_variables(paths) == ({}, ())
    paths.variables.parent.mkdir(parents=True)
    paths.variables.write_text("# c\n\nA=1\nexport B = ' two '\nC=\"x=y\"\nbad line\n1X=2\nA=3\n")
    values, wrong = read_variables(paths)
    assert values == {"A": "3", "B": " two ", "C": "x=y"}
    assert [text.rpartition(":")[0].rpartition(":")[2] for text in wrong] == ["6", "7"]
    assert os.path.isabs(str(paths.variables))  # noqa: PTH117
