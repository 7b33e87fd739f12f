"""Services with exclusive hardware and `handover: lock`: two versions loaded, one owner, and no waiting for the imports of the other."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from pathlib import Path

import pytest
from agent_robot import AgentRobot, eventually
from agent_server import AgentServer

from lekiwi_deploy.wire.link import DeploymentRef, ServiceSwitch, SwitchKind, TrialPolicy
from lekiwi_deploy.wire.manifest import Handover, ProcessCheck, Service, Warm

CONTRACT = (Path(__file__).parents[3] / "docs/robot-contract.md").read_text()
HELPER = re.findall(r"```python\n(.*?)```", CONTRACT[CONTRACT.index("### In Python") :], re.DOTALL)[0]
ALIVE = (ProcessCheck(settle_s=0.0),)
BASE = """
import os, signal, sys, time
from hardware import Hardware
VERSION = {version!r}
print(VERSION, "loads", flush=True)
time.sleep({load})
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
owned = os.path.join(os.environ["LEKIWI_STATE"], "owned")
with Hardware("motors"):
    try:
        os.close(os.open(owned, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        print("TWO OWNERS", flush=True)
    print(VERSION, "owns", flush=True)
    try:
        while not stopping:
            if os.path.exists({broken!r}) and VERSION == "two":
                os.unlink(owned)
                os._exit(7)
            time.sleep(0.01)
        os.unlink(owned)
    finally:
        print(VERSION, "lets go", flush=True)
"""


class Base:
    """Versions of a program that owns the motors."""

    def __init__(self, server: AgentServer, folder: Path) -> None:
        self.server = server
        self.broken = folder / "broken"
        """When it is there, version two crashes."""

    def release(self, version: str, *, load: float = 0.3, **more: object) -> DeploymentRef:
        code = BASE.format(version=version, load=load, broken=str(self.broken))
        service = Service(
            name="base",
            run=("python3", "-u", "base.py"),
            content=hashlib.sha256(version.encode()).hexdigest(),
            health=ALIVE,
            exclusive="motors",
            **{"handover": Handover.LOCK, "stop_grace_s": 3.0, **more},  # type: ignore[arg-type]
        )
        return self.server.release({"base.py": code, "hardware.py": HELPER}, [service])

    def said(self, text: str) -> int:
        return self.server.texts("base").count(text)


@pytest.fixture
def base(server: AgentServer, tmp_path: Path) -> Base:
    return Base(server, tmp_path)


def switched(server: AgentServer, ref: DeploymentRef, **policy: object) -> ServiceSwitch:
    """Deploy it; how the base was changed over."""
    server.want(ref, policy=TrialPolicy(**{"trial_s": 0.3, **policy}))  # type: ignore[arg-type]
    outcome = server.healthy(ref).outcome
    assert outcome is not None and len(outcome.switches) == 1
    return outcome.switches[0]


def standby_of(server: AgentServer, ref: DeploymentRef) -> object:
    """Wait until that version waits behind the lock."""
    return server.until(
        lambda: any(service.standby == ref.id for service in server.reports[-1].services), "a standby is loaded"
    )


def test_the_new_version_loads_while_the_old_one_drives(server: AgentServer, robot: AgentRobot, base: Base) -> None:
    robot.start()
    one, two = base.release("one"), base.release("two", load=1.0)
    server.want(one)
    server.healthy(one, good=True)
    switch = switched(server, two)
    assert (switch.kind, switch.why) == (SwitchKind.WARM, None)
    assert switch.gap_ms is not None and switch.gap_ms < 500  # it took a second to load
    server.healthy(two, good=True)
    eventually("only one is left", lambda: len(robot.processes()) == 1)
    assert base.said("TWO OWNERS") == 0


def test_the_version_before_waits_and_going_back_is_one_stop(
    server: AgentServer, robot: AgentRobot, base: Base
) -> None:
    robot.start()
    one, two = base.release("one", load=1.0), base.release("two")
    server.want(one)
    server.healthy(one, good=True)
    switched(server, two, trial_s=60.0)
    standby_of(server, one)
    server.until(lambda: base.said("one loads") == 2, "it was started again")
    waits = robot.processes()
    switch = switched(server, one)
    assert switch.kind is SwitchKind.WARM and switch.gap_ms is not None and switch.gap_ms < 500
    pid = server.healthy(one).services[0].pid
    assert pid in waits and base.said("one loads") == 2
    assert base.said("TWO OWNERS") == 0


def test_the_death_of_the_holder_is_a_failed_trial(server: AgentServer, robot: AgentRobot, base: Base) -> None:
    robot.start()
    one, two = base.release("one"), base.release("two")
    server.want(one)
    server.healthy(one, good=True)
    switched(server, two, trial_s=60.0)
    standby_of(server, one)
    server.until(lambda: base.said("one loads") == 2, "it loads")
    eventually("it waits", lambda: "->" in Path("/proc/locks").read_text())
    base.broken.touch()
    report = server.outcome(two, "rolled_back")
    assert report.outcome is not None
    assert report.outcome.why == "base: exited with code 7; the version before took over at once"
    assert (report.quarantined, robot.current()) == ((two.id,), one.id)
    (switch,) = report.outcome.switches
    assert switch.kind is SwitchKind.WARM and switch.gap_ms is not None and switch.gap_ms < 500
    server.healthy(one)
    assert base.said("two loads") == 1  # what failed is not started again
    assert base.said("TWO OWNERS") == 0


def test_so_it_is_when_no_agent_saw_it(server: AgentServer, robot: AgentRobot, base: Base) -> None:
    robot.start()
    one, two = base.release("one"), base.release("two")
    server.want(one)
    server.healthy(one, good=True)
    switched(server, two, trial_s=60.0)
    pid = server.reports[-1].services[0].pid
    standby_of(server, one)
    server.until(lambda: base.said("one loads") == 2, "it loads")
    eventually("it waits", lambda: "->" in Path("/proc/locks").read_text())
    robot.kill()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    (robot.root / "var/lib/lekiwi/state/base/owned").unlink(missing_ok=True)
    robot.start()
    server.outcome(two, "rolled_back")
    server.healthy(one)
    assert robot.current() == one.id
    assert base.said("two loads") == 1


def test_it_is_cold_with_a_reason_when_the_old_one_does_not_take_the_lock(
    server: AgentServer, robot: AgentRobot, base: Base
) -> None:
    robot.start()
    code = "import time\nprint('deaf', flush=True)\ntime.sleep(1000)\n"
    old = Service(name="base", run=("python3", "-u", "base.py"), content="d" * 64, health=ALIVE, exclusive="motors")
    one, two = server.release({"base.py": code}, [old]), base.release("two")
    server.want(one)
    server.healthy(one, good=True)
    switch = switched(server, two)
    assert (switch.kind, switch.why) == (SwitchKind.COLD, "the version before does not hold the lock of motors")
    assert switch.gap_ms is not None and switch.gap_ms > 300


def test_it_is_cold_when_no_second_copy_is_wanted(server: AgentServer, robot: AgentRobot, base: Base) -> None:
    robot.start()
    one, two = base.release("one", warm=Warm.NEVER), base.release("two", warm=Warm.NEVER)
    server.want(one)
    server.healthy(one, good=True)
    switch = switched(server, two)
    assert (switch.kind, switch.why) == (SwitchKind.COLD, None)
    assert switch.gap_ms is not None and switch.gap_ms > 300
    assert base.said("TWO OWNERS") == 0


def test_one_that_never_waits_for_the_lock_disturbs_nobody(server: AgentServer, robot: AgentRobot, base: Base) -> None:
    robot.start()
    one = base.release("one")
    server.want(one)
    pid = server.healthy(one, good=True).services[0].pid
    crash = Service(
        name="base",
        run=("python3", "-c", "import no_such_module"),
        content="c" * 64,
        health=ALIVE,
        exclusive="motors",
        handover=Handover.LOCK,
    )
    two = server.release({"data": "2"}, [crash])
    server.want(two)
    server.outcome(two, "rolled_back")
    assert server.healthy(one).services[0].pid == pid  # it drove on all the time
    assert base.said("one lets go") == 0


HAND_OVER = (
    *("switch.before_journal", "switch.after_journal", "switch.after_link", "switch.before_start"),
    *("service.after_spawn", "service.record", "switch.after_start", "switch.before_stop", "switch.after_stop"),
    *("trial.before_healthy", "trial.after_healthy", "trial.after_good"),
)


@pytest.mark.parametrize("name", HAND_OVER)
def test_killed_anywhere_in_a_hand_over_it_converges(
    server: AgentServer, robot: AgentRobot, base: Base, name: str
) -> None:
    robot.start()
    one, two = base.release("one"), base.release("two")
    server.want(one)
    server.healthy(one, good=True)
    robot.kill()
    robot.start(LEKIWI_FAILPOINT=name)
    server.until(lambda: server.linked, "it is back")
    server.want(two, policy=TrialPolicy(trial_s=0.5))
    assert robot.died() == -signal.SIGKILL
    robot.start()
    server.healthy(two, good=True)
    eventually("only one is left", lambda: len(robot.processes()) == 1)
    assert (base.said("TWO OWNERS"), robot.current()) == (0, two.id)
