"""Hooks, run as real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from lekiwi_deploy.agent.hooks import log_to, run_hook
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.process import ProcessSupervisor
from lekiwi_deploy.agent.supervisors.records import ProcessRecords
from lekiwi_deploy.agent.supervisors.supervisor import InstanceId, Launch
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import LogLine, LogRecord
from lekiwi_deploy.wire.manifest import Hook, HookKind

DEPLOYMENT, BEFORE = DeploymentId("dep_00000002"), DeploymentId("dep_00000001")


class Told:
    """What a robot's history and log were told."""

    def __init__(self, folder: Path) -> None:
        self.notes: list[tuple[str, str]] = []
        self.spool = Spool(folder / "spool", limit=1 << 20, durable=False)
        self.log = log_to(self.spool, appended=lambda: None, trouble=lambda text: self.notes.append(("trouble", text)))

    def note(self, kind: str, text: str, deployment: DeploymentId | None, service: str | None) -> None:
        self.notes.append((kind, text))

    def lines(self) -> list[LogLine]:
        batch = self.spool.batch(0)
        return [msgspec.json.decode(record, type=LogRecord).line for record in batch.records] if batch else []


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[ProcessSupervisor]:
    (tmp_path / "processes").mkdir()
    supervisor = ProcessSupervisor(
        ProcessRecords(tmp_path / "processes"),
        root=tmp_path,
        prefix=f"LEKIWI_INSTANCE={tmp_path}/",
        relaunch=lambda seen: None,
        changed=lambda instance: None,
        note=lambda kind, text, seen: None,
        randomness=lambda: 0.5,
        helpers=set(),
    )
    yield supervisor
    await supervisor.stop_all()
    supervisor.close()


def launch(folder: Path, **variables: str) -> Launch:
    slot = folder / "slot"
    (slot / "code").mkdir(parents=True)
    state = folder / "state/web"
    return Launch(
        instance=InstanceId("web-12345678"), service="web", run=("true",), folder=slot / "code", slot=slot, state=state,
        environment={"PATH": os.environ["PATH"], "LEKIWI_STATE": str(state), **variables}, deployment=DEPLOYMENT, fingerprint="1" * 64,
        log=folder / "web.log", family=f"LEKIWI_INSTANCE={folder}/web-12345678", grace_s=1.0,
    )  # fmt: skip


SHOW = "import os; print(os.getcwd(), os.environ['KEY'], os.environ['LEKIWI_HOOK'], os.environ.get('LEKIWI_PREVIOUS_DEPLOYMENT'))"


async def test_a_hook_runs_in_the_services_folder_with_its_variables(
    tmp_path: Path, supervisor: ProcessSupervisor, told: Told
) -> None:
    start = launch(tmp_path, KEY="secret")
    hook = Hook(run=(sys.executable, "-c", SHOW))
    assert await run_hook(supervisor, start, hook, HookKind.PREPARE, told.note, told.log, previous=BEFORE) is None
    (line,) = told.lines()
    assert line.text == f"{start.folder} secret prepare dep_00000001"
    assert (line.service, line.stream, line.deployment) == ("web", "hook", DEPLOYMENT)
    ((kind, text),) = told.notes
    assert kind == "hook" and text.startswith("web: prepare was run in ")


async def test_a_hook_that_fails_says_so_with_its_last_line(
    tmp_path: Path, supervisor: ProcessSupervisor, told: Told
) -> None:
    hook = Hook(run=("/bin/sh", "-c", "echo one; echo 'no calibration' >&2; exit 3"))
    failure = await run_hook(supervisor, launch(tmp_path), hook, HookKind.AFTER_START, told.note, told.log)
    assert failure is not None and failure.startswith("web: after_start failed: /bin/sh -c echo one")
    assert failure.endswith("exited with code 3: no calibration")
    assert [line.text for line in told.lines()] == ["one", "no calibration"]
    assert told.notes == [("hook_failed", failure)]


async def test_a_hook_that_is_not_there_has_failed(tmp_path: Path, supervisor: ProcessSupervisor, told: Told) -> None:
    hook = Hook(run=("./migrate",))
    failure = await run_hook(supervisor, launch(tmp_path), hook, HookKind.PREPARE, told.note, told.log)
    assert failure is not None and "./migrate" in failure and "No such file" in failure


async def test_a_hook_that_takes_too_long_is_killed_with_all_that_it_started(
    tmp_path: Path, supervisor: ProcessSupervisor, told: Told
) -> None:
    pid = tmp_path / "pid"
    hook = Hook(run=("/bin/sh", "-c", f"sleep 1000 & echo $! > {pid}; echo began; wait"), timeout_s=0.5)
    failure = await run_hook(supervisor, launch(tmp_path), hook, HookKind.BEFORE_STOP, told.note, told.log)
    assert failure is not None and "took longer than 0.5 s" in failure
    assert [line.text for line in told.lines()] == ["began"]
    stat = Path(f"/proc/{int(pid.read_text())}/stat")
    assert not stat.exists() or stat.read_text().rpartition(") ")[2].startswith("Z")


async def test_a_hook_writes_to_the_services_own_state(
    tmp_path: Path, supervisor: ProcessSupervisor, told: Told
) -> None:
    start = launch(tmp_path)
    hook = Hook(run=("/bin/sh", "-c", "echo 7 > $LEKIWI_STATE/offset"))
    assert await run_hook(supervisor, start, hook, HookKind.PREPARE, told.note, told.log) is None
    assert (start.state / "offset").read_text() == "7\n"
