"""Instances as plain processes: what they say, pausing them, holding them down, and taking them over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lekiwi_deploy.agent.supervisors.notify import address
from lekiwi_deploy.agent.supervisors.process import ProcessSupervisor
from lekiwi_deploy.agent.supervisors.records import ProcessRecords
from lekiwi_deploy.agent.supervisors.supervisor import Launch, ProcessSeen, ProcessState, instance_id
from lekiwi_deploy.wire.ids import DeploymentId, InstanceId

TELL = """
import os, socket, sys, time
def tell(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text.encode(), "\\0" + os.environ["NOTIFY_SOCKET"][1:])
"""


class World:
    """A supervisor on a folder; `notes` is what it told. Every process is gone when it ends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "records").mkdir(parents=True, exist_ok=True)
        self.notes: list[tuple[str, str]] = []
        self.launches: dict[InstanceId, Launch] = {}
        self._changed = asyncio.Event()
        self.supervisor = self._make()

    def _make(self) -> ProcessSupervisor:
        return ProcessSupervisor(
            ProcessRecords(self.root / "records"),
            root=self.root,
            prefix=f"LEKIWI_STATE={self.root}/",
            relaunch=lambda seen: self.launches.get(seen.instance),
            changed=lambda _: self._changed.set(),
            note=lambda kind, text, _: self.notes.append((kind, text)),
            randomness=lambda: 0.0,
            helpers=set(),
        )

    async def again(self) -> None:
        """As after the agent's death: another one takes over."""
        self.supervisor.close()
        self.supervisor = self._make()
        await self.supervisor.adopt()

    def start(self, code: str, *, name: str = "web", print_: str = "a", **more: object) -> InstanceId:
        instance = instance_id(name, print_ * 64)
        launch = Launch(
            instance=instance,
            service=name,
            run=(sys.executable, "-c", code),
            folder=self.root,
            slot=self.root,
            state=self.root / name,
            environment={
                "PATH": os.environ["PATH"],
                "LEKIWI_STATE": f"{self.root}/{name}",
                "I": f"{instance}@{self.root}",
            },
            deployment=DeploymentId("dep_AAAAAAAA"),
            fingerprint=print_ * 64,
            log=self.root / f"{instance}.log",
            family=f"I={instance}@{self.root}",
            grace_s=2.0,
            **{"notify": True, **more},  # type: ignore[arg-type]
        )
        self.launches[instance] = launch
        self.supervisor.start(launch)
        return instance

    def seen(self, instance: InstanceId) -> ProcessSeen:
        return self.supervisor.seen()[instance]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)
        assert condition(), what


@contextlib.asynccontextmanager
async def world(root: Path) -> AsyncIterator[World]:
    it = World(root)
    try:
        yield it
    finally:
        await it.supervisor.stop_all()
        it.supervisor.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def state_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]


def test_what_it_says_of_itself_is_heard_and_survives_the_agent(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            code = TELL + "tell('STATUS=owns motors\\nREADY=1'); input_ = time.sleep(100)"
            instance = it.start(code)
            await it.until(lambda: it.seen(instance).told.ready, "it is ready")
            before = it.seen(instance)
            await it.again()
            after = it.seen(instance)
            assert (after.pid, after.told) == (before.pid, before.told)
            assert after.told.owns_since is not None

    run(work)


def test_nobody_else_speaks_for_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            instance = it.start("import time; time.sleep(100)")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"READY=1", "\0" + address(tmp_path, instance)[1:])
            other = it.start(TELL + "tell('STATUS=hello'); tell('READY=1'); time.sleep(100)", name="other")
            await it.until(lambda: it.seen(other).told.ready, "another one is heard")
            assert not it.seen(instance).told.ready

    run(work)


def test_one_that_said_it_when_nobody_listened_is_started_afresh(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            instance = it.start("import time; time.sleep(100)")
            pid = it.seen(instance).pid
            await it.again()
            await it.until(
                lambda: instance not in it.supervisor.seen(), "it is ended, as nobody knows whether it is ready"
            )
            assert not Path(f"/proc/{pid}").exists()

    run(work)


@pytest.mark.parametrize(("code", "why"), [("pass", "no sign of life"), ("tell('WATCHDOG=trigger')", "hangs")])
def test_a_watchdog_that_is_not_fed_ends_it(tmp_path: Path, code: str, why: str) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            instance = it.start(
                TELL
                + f"tell('READY=1')\nfor _ in range(3): time.sleep(0.1); tell('WATCHDOG=1')\n{code}\ntime.sleep(100)",
                watchdog_s=0.5,
            )
            await it.until(lambda: it.seen(instance).exits, "it was ended")
            exit_ = it.seen(instance).exit
            assert exit_ is not None and why in exit_ and "SIGABRT" in exit_

    run(work)


CHILDREN = (
    TELL
    + """
import subprocess
children = [subprocess.Popen(["sleep", "1000"]), subprocess.Popen(["sleep", "1000"], start_new_session=True)]
tell("STATUS=" + " ".join(str(child.pid) for child in children) + "\\nREADY=1")
time.sleep(100)
"""
)


def test_it_is_paused_with_its_children_also_for_the_next_agent(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            instance = it.start(CHILDREN)
            await it.until(lambda: it.seen(instance).told.ready, "it has children")
            pid = it.seen(instance).pid
            assert pid is not None
            family = [pid, *(int(word) for word in (it.seen(instance).told.status or "").split())]
            it.supervisor.pause(instance)
            await it.until(lambda: {state_of(one) for one in family} == {b"T"}, "all of them stand still")
            await it.again()
            assert it.seen(instance).paused
            it.supervisor.resume(instance)
            await it.until(lambda: b"T" not in {state_of(one) for one in family}, "all of them go on")
            it.supervisor.pause(instance)
            await it.supervisor.stop(instance)
            assert not [one for one in family if Path(f"/proc/{one}").exists() and state_of(one) != b"Z"]
            assert "killed" not in [kind for kind, _ in it.notes]  # a paused one can be asked to stop, too

    run(work)


def test_who_is_held_down_is_gone_when_it_exits_unless_that_is_taken_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            first = it.start("import time; time.sleep(100)", notify=False)
            second = it.start("import time; time.sleep(100)", print_="b", notify=False)
            for instance in (first, second):
                it.supervisor.hold_down(instance)
            it.supervisor.hold_down(second, False)
            await it.again()
            pids = {instance: it.seen(instance).pid for instance in (first, second)}
            for pid in pids.values():
                assert pid is not None
                os.kill(pid, 9)
            await it.until(lambda: first not in it.supervisor.seen(), "it is left alone")
            await it.until(lambda: it.seen(second).pid not in (None, pids[second]), "the other one was started again")

    run(work)


def test_two_versions_of_a_service_end_without_each_other(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            first, second = it.start(CHILDREN), it.start(CHILDREN, print_="b")
            await it.until(lambda: it.seen(first).told.ready and it.seen(second).told.ready, "both have children")
            await it.again()
            await it.supervisor.stop(first)
            assert it.seen(second).state is ProcessState.RUNNING
            pids = [int(word) for word in (it.seen(second).told.status or "").split()]
            assert all(Path(f"/proc/{pid}").exists() for pid in pids)

    run(work)


def test_a_command_runs_as_the_instance_would_and_is_cut_off_with_its_children(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path) as it:
            instance = it.start("import time; time.sleep(100)")
            launch = it.launches[instance]
            wrong, lines = await it.supervisor.run(launch, ("sh", "-c", "pwd; echo $LEKIWI_STATE; exit 3"), 5.0)
            assert (wrong, lines) == (
                f"sh -c pwd; echo $LEKIWI_STATE; exit 3 exited with code 3: {tmp_path}/web",
                (str(tmp_path), f"{tmp_path}/web"),
            )
            assert await it.supervisor.run(launch, ("true",), 5.0) == (None, ())
            wrong, lines = await it.supervisor.run(launch, ("sh", "-c", "echo begun; sleep 99 & sleep 99"), 0.3)
            assert (wrong, lines) == ("sh -c echo begun; sleep 99 & sleep 99 took longer than 0.3 s", ("begun",))
            many = ("sh", "-c", "seq 1 200000; exit 1")
            wrong, lines = await it.supervisor.run(launch, many, 20.0)
            assert lines[-1] == "200000" and len(lines) == 20  # it never waits for a reader

    run(work)
