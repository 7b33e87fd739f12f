from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from lekiwi_deploy.agent.doctor import agent_checks, deployment_checks, machine_checks
from lekiwi_deploy.agent.journal import Journal
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.ledger import Ledger, SlotRecord
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef

ONE = DeploymentId("dep_aaaaaaaa")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.make()
    return paths


def ledger(state: SlotState = SlotState.GOOD) -> Ledger:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ref = DeploymentRef(id=ONE, digest=ManifestDigest("0" * 64), manifest_size=0, version="1", created_at=at)
    return Ledger(slots={ONE: SlotRecord(ref=ref, state=state, last_good=1)}, live=ONE)


def test_no_journal_is_fine_before_the_first_deployment(paths: Paths) -> None:
    found, check = deployment_checks.ledger_of(paths)
    assert (found, check.state) == (None, "ok")


def test_a_damaged_journal_fails(paths: Paths) -> None:
    paths.journal.write_text("{")
    found, check = deployment_checks.ledger_of(paths)
    assert (found, check.state) == (None, "fail")
    assert "damaged" in check.text


def test_current_beside_the_journal(paths: Paths) -> None:
    Journal(paths.journal).save(ledger())
    known, check = deployment_checks.ledger_of(paths)
    assert check.state == "ok" and known is not None
    states = {check.name: check for check in deployment_checks.slots(paths, known)}
    assert states["current"].state == "fail"
    assert "names nothing, and the journal says that dep_aaaaaaaa runs" in states["current"].text
    paths.current.symlink_to(f"deployments/{ONE}")
    states = {check.name: check for check in deployment_checks.slots(paths, known)}
    assert states["current"].state == "ok"
    assert states["slots"].state == "fail", "its manifest is not there"


def test_a_quarantined_deployment_is_named(paths: Paths) -> None:
    checks = {check.name: check for check in deployment_checks.slots(paths, ledger(SlotState.QUARANTINED))}
    assert ONE in checks["quarantine"].text


def test_units_that_boot_something_else_than_the_newest_good_one_are_named(paths: Paths) -> None:
    assert deployment_checks.boots(paths, ledger()) is None, "systemd starts nothing of ours"
    units = paths.root / "etc/systemd/system"
    (units / "lekiwi.target.d").mkdir(parents=True)
    (units / "lekiwi.target.d/services.conf").write_text("[Unit]\nWants=lekiwi-base-12345678.87654321.service\n")
    missing = deployment_checks.boots(paths, ledger())
    assert missing is not None and missing.state == "fail"
    unit = units / "lekiwi-base-12345678.87654321.service"
    unit.write_text(f"[Service]\nExecStart=/opt/lekiwi/deployments/{ONE}/code/run\n")
    good = deployment_checks.boots(paths, ledger())
    assert good is not None and good.state == "ok"
    unit.write_text("[Service]\nExecStart=/opt/lekiwi/deployments/dep_bbbbbbbb/code/run\n")
    other = deployment_checks.boots(paths, ledger())
    assert other is not None and other.state == "fail"


def test_a_key_that_others_can_read_fails(paths: Paths) -> None:
    paths.key.parent.mkdir(parents=True)
    assert next(agent_checks.key(paths)).state == "fail"
    paths.key.write_text("00" * 32)
    paths.key.chmod(0o600)
    assert next(agent_checks.key(paths)).state == "ok"
    paths.key.chmod(0o644)
    check = next(agent_checks.key(paths))
    assert (check.state, "chmod 600" in check.fix) == ("fail", True)


def test_a_line_of_robot_env_that_is_none_is_named(paths: Paths) -> None:
    paths.key.parent.mkdir(parents=True)
    paths.key.write_text("00" * 32)
    paths.key.chmod(0o600)
    paths.variables.write_text("A=1\nnonsense\n")
    assert next(check.text for check in agent_checks.key(paths) if check.name == "variables").endswith(
        "robot.env:2: not KEY=VALUE"
    )


def test_a_robot_without_an_agent_has_no_link(paths: Paths) -> None:
    assert agent_checks.link(None, LekiwiError("no agent")).state == "fail"


def test_room_on_the_disk_is_told_once_for_each_file_system(paths: Paths) -> None:
    checks = list(machine_checks.disk(paths))
    assert [check.name for check in checks if check.name == "disk"] == ["disk"]


def test_checks_are_whole_messages() -> None:
    assert msgspec.json.encode(agent_checks.link(None, LekiwiError("x"))).startswith(b'{"name":"link","state":"fail"')
