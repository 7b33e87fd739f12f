"""What a robot's agent sees of itself, and what it tells the server: as `agent/observe.py` and `agent/report.py` do it on a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lekiwi_deploy.robot.boot import boots
from lekiwi_deploy.robot.fallback import fallback
from lekiwi_deploy.robot.instance_types import StopInstance
from lekiwi_deploy.robot.ledger import candidates, named, tried
from lekiwi_deploy.robot.retention import retention
from lekiwi_deploy.robot.settling import settling
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import Observed
from lekiwi_deploy.robot.trial import judge
from lekiwi_deploy.robot.wanted import target
from lekiwi_deploy.testing.simulation.machine import SERVICE
from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import Phase, Report, Running, ServiceState
from lekiwi_deploy.wire.reasons import Pinned, Reason, Starting

if TYPE_CHECKING:
    from lekiwi_deploy.testing.simulation.robot import Robot

_STOP = (StopInstance(InstanceId(SERVICE)),)


def look(robot: Robot) -> Observed:
    """The robot, now."""
    ledger, machine = robot.ledger, robot.machine
    known = candidates(ledger, frozenset(robot.present))
    gone_back = tried(ledger)
    back = fallback(known, live=ledger.live, came_from=ledger.came_from, tried=gone_back)
    lost = back
    if len(robot.present) < len(ledger.slots):
        every = candidates(ledger, frozenset(ledger.slots))
        lost = fallback(every, live=ledger.live, came_from=ledger.came_from, tried=gone_back)
    in_use = frozenset(id for id in (machine.process, robot.current) if id is not None)
    kept = retention(
        {id: slot.staged for id, slot in ledger.slots.items() if slot.staged},
        frozenset(robot.laid_out),
        keep=robot.keeps,
        live=ledger.live,
        fallback=back,
        needed=named(ledger) | in_use,
    )
    judgement = None
    if ledger.trial is not None:
        judgement = judge(ledger.trial, machine.services(ledger.live), boot=machine.boot, now=machine.uptime)
    stale = machine.process != ledger.live
    first = boots(ledger, back)
    return Observed(
        slots={id: slot.state for id, slot in ledger.slots.items()},
        present=frozenset(robot.present),
        laid_out=frozenset(robot.laid_out),
        live=ledger.live,
        current=robot.current,
        fallback=back,
        lost=lost,
        stale=(SERVICE,) if stale else (),
        changes=_STOP if stale else (),
        boots=first,
        kept_for_boot=robot.kept == first,
        judgement=judgement,
        boot_counted=ledger.trial is None or ledger.trial.boot == machine.boot,
        fetching=robot.fetching.deployment if robot.fetching is not None else None,
        blocked=dict(robot.blocked),
        why={id: slot.why for id, slot in ledger.slots.items() if slot.why is not None},
        prune=kept.prune,
        tear_down=kept.tear_down,
        settling=settling(ledger.changes, target(ledger)),
    )


def phase_of(robot: Robot) -> Phase:
    """What it is doing."""
    trial = robot.ledger.trial
    if robot.fetching is not None:
        return Phase.FETCHING
    if trial is not None:
        return Phase.TRIAL if trial.healthy_since is not None else Phase.STARTING
    return Phase.WAITING if robot.waiting else Phase.IDLE


def report_of(robot: Robot, number: int) -> Report:
    """Its whole state."""
    ledger = robot.ledger
    desired = ledger.desired.deployment if ledger.desired is not None else None
    outcome = ledger.outcome
    if outcome is not None and (desired is None or outcome.deployment != desired.id):
        outcome = None
    return Report(
        number=number,
        epoch=ledger.epoch,
        generation=ledger.generation,
        phase=phase_of(robot),
        running=_running(robot),
        outcome=outcome,
        services=robot.machine.reported(),
        waiting=_waiting(robot),
        pin=ledger.pin,
        retained=tuple(sorted(robot.present)),
        quarantined=tuple(sorted(id for id, slot in ledger.slots.items() if slot.state is SlotState.QUARANTINED)),
    )


def _running(robot: Robot) -> Running | None:
    ledger, machine = robot.ledger, robot.machine
    if ledger.live is None or ledger.live_since is None:
        return None
    record = ledger.slots[ledger.live]
    proven = ledger.trial is None or ledger.trial.healthy_since is not None
    up = machine.process == ledger.live and machine.service().ready
    return Running(
        deployment=ledger.live,
        digest=record.ref.digest,
        healthy=proven and up,
        good=record.state is SlotState.GOOD and ledger.trial is None,
        since=ledger.live_since,
    )


def _waiting(robot: Robot) -> tuple[Reason, ...]:
    ledger = robot.ledger
    reasons: list[Reason] = []
    desired = ledger.desired.deployment if ledger.desired is not None else None
    if ledger.pin is not None and desired is not None and desired.id != ledger.pin.deployment:
        reasons.append(Pinned(ledger.pin.deployment, ledger.pin.by, ledger.pin.at))
    reasons += robot.waiting
    if ledger.trial is not None and ledger.trial.healthy_since is None:
        late = tuple(one.name for one in robot.machine.reported() if one.state is not ServiceState.READY)
        if late:
            reasons.append(Starting(late))
    return tuple(reasons)
