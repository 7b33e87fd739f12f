"""What a robot's agent does: each step of the product's decisions, and what of it is on the disk afterwards."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.backoff import fetch_delay
from lekiwi_deploy.robot.ledger import Attempt, Ledger
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import (
    Activate,
    ChangeInstances,
    ComeBack,
    CountStart,
    FallThrough,
    Fetch,
    GiveUp,
    Hold,
    KeepForBoot,
    LayOut,
    MarkGood,
    MarkHealthy,
    MarkRelapsed,
    PointCurrent,
    Prune,
    RollBack,
    Step,
    StopFetch,
    TearDown,
)
from lekiwi_deploy.robot.trial import baseline
from lekiwi_deploy.testing.simulation.machine import SERVICE
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.reasons import Retrying

if TYPE_CHECKING:
    from lekiwi_deploy.testing.simulation.robot import Robot


def carry_out(robot: Robot, step: Step) -> None:
    """Does it, at once but for a download."""
    ledger, machine = robot.ledger, robot.machine
    match step:
        case Fetch(deployment):
            robot.fetch(deployment)
        case StopFetch():
            robot.drop_fetch()
        case LayOut(deployment):
            assert deployment in robot.present
            robot.laid_out.add(deployment)
        case Activate(deployment):
            assert deployment in robot.laid_out
            _make_live(robot, ledger, deployment)
            robot.noted(f"switches to {_named(robot, deployment)}")
        case CountStart():
            robot.remember(record.started_again(ledger, machine.boot))
        case PointCurrent(deployment):
            assert deployment in robot.laid_out, "current would name nothing complete"
            robot.current = deployment
        case KeepForBoot(starts):
            assert starts is None or starts in robot.laid_out, "the machine would start what is not all there"
            robot.kept = starts
        case ChangeInstances():
            _restart(robot)
        case MarkHealthy(deployment):
            took = 1000 * (robot.agenda.elapsed - machine.started)
            healthy = record.became_healthy(ledger, since=machine.uptime, now=machine.wall, switch_ms=took, gap_ms=took)
            robot.remember(healthy)
            robot.noted(f"is healthy with {_named(robot, deployment)}")
        case MarkRelapsed():
            robot.remember(record.relapsed(ledger))
        case MarkGood(deployment):
            robot.remember(record.proven(ledger, machine.wall))
            robot.noted(f"finds {_named(robot, deployment)} good")
        case RollBack(failed, to, why, _):
            assert ledger.trial is not None
            attempt = Attempt(deployment=failed, generation=ledger.trial.generation, why=why)
            robot.forced.discard(failed)
            _make_live(robot, record.condemned(ledger, why), to, attempt)
            robot.noted(f"goes back from {_named(robot, failed)} to {_named(robot, to)}: {why}")
        case FallThrough(failed, to, why, _):
            fallen, attempt = record.fell_through(ledger, why)
            _make_live(robot, fallen, to, attempt)
            robot.noted(f"goes on to {_named(robot, to)}, for {_named(robot, failed)} did not come back either: {why}")
        case ComeBack(failed, to):
            attempt = Attempt(deployment=failed, generation=ledger.generation, why=ledger.slots[failed].why or "")
            _make_live(robot, ledger, to, attempt)
        case GiveUp(failed, why, _):
            robot.forced.discard(failed)
            robot.remember(record.gave_up(ledger, why, machine.wall, ()))
            robot.noted(f"gives {_named(robot, failed)} up and has nothing to go back to: {why}")
        case Hold(deployment, why, _):
            robot.remember(record.held(ledger, why, machine.wall, ()))
            robot.noted(f"leaves {_named(robot, deployment)} as it is, though it failed: {why}")
        case TearDown(deployment):
            assert deployment not in (ledger.live, machine.process)
            robot.laid_out.discard(deployment)
        case Prune(deployment):
            assert deployment not in (ledger.live, machine.process, robot.current)
            robot.laid_out.discard(deployment)
            robot.present.discard(deployment)
            robot.remember(record.pruned(ledger, deployment))


def fetched(robot: Robot, deployment: DeploymentId, began: float) -> None:
    """A download ends: everything is here, or it is tried again later."""
    robot.fetching = None
    release = robot.releases[deployment]
    if not release.obtainable(robot.agenda.now) or not robot.online():
        robot.failures += 1
        delay = fetch_delay(robot.failures, robot.random.random())
        why = "the server has not all of it" if robot.online() else "the server cannot be reached"
        robot.blocked[deployment] = Retrying(why=why, at=robot.machine.wall + timedelta(seconds=delay))
        robot.agenda.after(delay, partial(_try_again, robot, deployment))
    else:
        robot.failures = 0
        robot.present.add(deployment)
        robot.laid_out.add(deployment)
        if deployment in robot.ledger.slots:
            ready_ms = 1000 * (robot.agenda.elapsed - began)
            robot.remember(record.staged(robot.ledger, deployment, wire_bytes=release.size, ready_ms=ready_ms))
    robot.look()


def _try_again(robot: Robot, deployment: DeploymentId) -> None:
    if robot.blocked.pop(deployment, None) is not None:
        robot.look()


def _make_live(robot: Robot, ledger: Ledger, deployment: DeploymentId, attempt: Attempt | None = None) -> None:
    trial, machine = ledger.trial, robot.machine
    seen = machine.services(robot.ledger.live)
    failing = trial.baseline if trial is not None and attempt is not None else baseline(trial, seen)
    robot.remember(
        record.activated(
            ledger,
            deployment,
            boot=machine.boot,
            now=machine.wall,
            restarted=(SERVICE,),
            judged=(SERVICE,),
            baseline=failing,
            instead_of=attempt,
            at=machine.uptime,
        )
    )


def _restart(robot: Robot) -> None:
    live = robot.ledger.live
    if live is None:
        robot.machine.stop()
        return
    assert live in robot.laid_out, "it would start what is not all there"
    assert robot.ledger.slots[live].state is not SlotState.QUARANTINED, f"{robot.name} starts what failed there"
    robot.machine.start(live)


def _named(robot: Robot, deployment: DeploymentId) -> str:
    return robot.releases[deployment].version
