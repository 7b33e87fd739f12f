"""The robot's state as it is told to the server, and to people on the robot."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.wanted import target
from lekiwi_deploy.wire.link import Phase, Report, Running, ServiceState
from lekiwi_deploy.wire.reasons import DiskFailing, DiskFull, Pinned, Reason, Starting


class Reporter:
    """Makes reports with rising numbers: milliseconds since boot at least, so that they rise over agents of one boot, too."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._number = 0

    def report(self) -> Report:
        """The robot, now."""
        robot, ledger = self._robot, self._robot.ledger
        epoch, generation = robot.stored
        self._number = max(self._number + 1, int(machine.boottime() * 1000))
        outcome = ledger.outcome
        desired = ledger.desired.deployment if ledger.desired is not None else None
        if outcome is not None and (desired is None or outcome.deployment != desired.id):
            outcome = None
        return Report(
            number=self._number,
            epoch=epoch,
            generation=generation,
            phase=_phase(robot),
            running=_running(robot),
            outcome=outcome,
            services=robot.services.reports(),
            waiting=_waiting(robot),
            pin=ledger.pin,
            retained=tuple(sorted(id_ for id_ in ledger.slots if id_ in robot.slots.present)),
            quarantined=tuple(sorted(id_ for id_, slot in ledger.slots.items() if slot.state is SlotState.QUARANTINED)),
            agent=robot.agent_state,
        )


def same(one: Report | None, other: Report) -> bool:
    """Whether there is nothing new in `other`."""
    return one is not None and msgspec.structs.replace(one, number=other.number) == other


def urgent(one: Report | None, other: Report) -> bool:
    """Whether somebody waits for what is new in `other`."""
    read: Callable[[Report], object] = lambda report: (  # noqa: E731
        report.running,
        report.outcome,
        report.pin,
        report.generation,
        report.epoch,
    )
    return one is None or read(one) != read(other)


def _running(robot: Robot) -> Running | None:
    ledger = robot.ledger
    if ledger.live is None or ledger.live_since is None:
        return None
    record = ledger.slots[ledger.live]
    proven = ledger.trial is None or ledger.trial.healthy_since is not None
    return Running(
        deployment=ledger.live,
        digest=record.ref.digest,
        healthy=proven and robot.services.healthy() and not robot.services.stale(),
        good=record.state is SlotState.GOOD and ledger.trial is None,
        since=ledger.live_since,
    )


def _phase(robot: Robot) -> Phase:
    ledger = robot.ledger
    if robot.switching:
        return Phase.SWITCHING
    if robot.fetches.deployment is not None:
        return Phase.FETCHING
    if ledger.trial is not None:
        return Phase.TRIAL if ledger.trial.healthy_since is not None else Phase.STARTING
    if robot.waiting:
        return Phase.WAITING
    wanted = target(ledger)
    if wanted is not None and wanted != ledger.live and wanted in robot.slots.laid_out:
        return Phase.STAGED
    return Phase.IDLE


def _waiting(robot: Robot) -> tuple[Reason, ...]:
    ledger = robot.ledger
    reasons: list[Reason] = [] if robot.disk_trouble is None else [DiskFailing(robot.disk_trouble)]
    desired = ledger.desired.deployment if ledger.desired is not None else None
    if ledger.pin is not None and desired is not None and desired.id != ledger.pin.deployment:
        reasons.append(Pinned(ledger.pin.deployment, ledger.pin.by, ledger.pin.at))
    fetching = robot.fetches.reason()
    if fetching is not None:
        reasons.append(fetching)
    reasons += [reason for reason in robot.waiting if not isinstance(reason, DiskFull) or fetching is None]
    if ledger.trial is not None and ledger.trial.healthy_since is None:
        late = tuple(
            report.name
            for report in robot.services.reports()
            if report.name in ledger.trial.judged and report.state is not ServiceState.READY
        )
        if late:
            reasons.append(Starting(late))
    return tuple(reasons)
