"""Doing one step. What it means for the ledger stands in `robot/record.py`; it is on disk before this returns."""

from __future__ import annotations

import asyncio
from typing import assert_never

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.observe import fallback_of, keeping
from lekiwi_deploy.agent.plan import Plan
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.robot import record
from lekiwi_deploy.robot.affected import Affected, affected
from lekiwi_deploy.robot.instance_types import Action
from lekiwi_deploy.robot.ledger import Attempt, Ledger
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
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.link import Result, ServiceSwitch
from lekiwi_deploy.wire.switch_words import in_words


async def carry_out(robot: Robot, step: Step) -> None:
    """Raises `OSError` of the disk or `LekiwiError` of the content; the step is then to be decided anew."""
    match step:
        case Fetch(deployment):
            robot.fetch(deployment)
        case StopFetch():
            robot.fetches.stop()
        case LayOut(deployment):
            await _lay_out(robot, deployment)
        case Activate(deployment):
            _activate(robot, deployment)
        case CountStart():
            robot.remember(record.started_again(robot.ledger, machine.boot_id()))
        case PointCurrent(deployment):
            fp("switch.before_link")
            robot.slots.point_current(deployment)
            fp("switch.after_link")
        case ChangeInstances(actions):
            await _change_instances(robot, actions)
        case MarkHealthy(deployment):
            _mark_healthy(robot, deployment)
        case MarkRelapsed():
            robot.remember(record.relapsed(robot.ledger))
        case MarkGood(deployment):
            robot.remember(record.proven(robot.ledger, machine.utc_now()))
            fp("trial.after_good")
            robot.history.note("good", f"{deployment} is good", deployment, outcome=robot.ledger.outcome)
        case RollBack():
            _roll_back(robot, step)
        case FallThrough():
            _fall_through(robot, step)
        case ComeBack():
            _come_back(robot, step)
        case GiveUp():
            _give_up(robot, step)
        case Hold(deployment, why, service):
            log = robot.services.last_lines(service)
            robot.remember(record.held(robot.ledger, why, machine.utc_now(), log))
            robot.history.note(
                "failed", f"{deployment} failed and runs on: {why}", deployment, service, robot.ledger.outcome
            )
        case TearDown(deployment):
            await asyncio.to_thread(robot.slots.tear_down, deployment)
            robot.variables.restore(deployment)
        case Prune(deployment):
            await _prune(robot, deployment)
        case KeepForBoot(deployment):
            await robot.keep_for_boot(deployment)
        case _:
            assert_never(step)


async def _lay_out(robot: Robot, deployment: DeploymentId) -> None:
    robot.slots.laid_out.discard(deployment)
    fp("stage.before_lay_out")
    async with robot.content_lock:
        await asyncio.to_thread(robot.slots.lay_out, deployment)
        robot.variables.restore(deployment)
        await robot.prepare(deployment)
    fp("stage.after_lay_out")
    robot.slots.laid_out.add(deployment)


def _activate(robot: Robot, deployment: DeploymentId) -> None:
    decided = machine.boottime()
    if not robot.slots.check(deployment, beside=robot.ledger.live):
        robot.history.note("trouble", f"the files of {deployment} are damaged and are fetched again", deployment)
        return
    plan = robot.plan_of(deployment)
    _make_live(robot, robot.ledger, plan, instead_of=None, decided=decided)
    robot.history.note("activated", f"{deployment} ({plan.ref.version}) is live, on trial", deployment)


def _make_live(robot: Robot, ledger: Ledger, plan: Plan, *, instead_of: Attempt | None, decided: float) -> None:
    change, before = _change(robot, plan), robot.ledger.trial
    ledger = record.activated(
        ledger,
        plan.ref.id,
        boot=machine.boot_id(),
        now=machine.utc_now(),
        restarted=change.names,
        judged=change.judge,
        baseline=_baseline(robot, instead_of),
        instead_of=instead_of,
        at=decided,
    )
    fp("switch.before_journal")
    robot.remember(ledger)
    fp("switch.after_journal")
    robot.services.begin(decided, before)
    robot.services.use(plan)


def _baseline(robot: Robot, instead_of: Attempt | None) -> tuple[tuple[str, str], ...]:
    """What failed before the switch. What fails now that the robot goes back is what it goes back from."""
    trial = robot.ledger.trial
    return trial.baseline if trial is not None and instead_of is not None else baseline(trial, robot.services.seen())


def _change(robot: Robot, plan: Plan) -> Affected:
    before = robot.services.plan
    return affected(
        robot.services.fingerprints(robot.ledger.trial),
        plan.fingerprints,
        {name: before.checks(name) for name in before.services} if before is not None else {},
        {name: plan.checks(name) for name in plan.services},
    )


async def _change_instances(robot: Robot, actions: tuple[Action, ...]) -> None:
    if robot.services.plan is None and robot.ledger.live is not None:
        robot.services.use(robot.replan())
    await robot.services.carry_out(actions, robot.ledger.came_from)


def _mark_healthy(robot: Robot, deployment: DeploymentId) -> None:
    trial, change = robot.ledger.trial, robot.services.change
    assert trial is not None
    now = machine.boottime()
    switch_ms = gap_ms = None
    switches: tuple[ServiceSwitch, ...] = ()
    if change is not None and not trial.told:
        ups = {name: up for name in trial.judged if (up := robot.services.up_at(name)) is not None}
        switch_ms = (max([*ups.values(), change.decided]) - change.decided) * 1000
        if any(name not in ups for name in trial.judged):
            switch_ms = (now - change.decided) * 1000
        switches = robot.services.switches(trial.restarted)
        gap_ms = max((switch.gap_ms for switch in switches if switch.gap_ms is not None), default=0.0)
        robot.services.told()
    fp("trial.before_healthy")
    told = trial.told
    robot.remember(
        record.became_healthy(
            robot.ledger, since=now, now=machine.utc_now(), switch_ms=switch_ms, gap_ms=gap_ms, switches=switches
        )
    )
    fp("trial.after_healthy")
    if told:
        robot.history.note("healthy", f"{deployment} is healthy again", deployment)
        return
    took = f" after {switch_ms:.0f} ms" if switch_ms is not None else ""
    took += f": {in_words(switches)}" if switches else ""
    outcome = robot.ledger.outcome
    if outcome is not None and outcome.result is Result.ROLLED_BACK and trial.instead_of is not None:
        text = (
            f"{trial.instead_of.deployment} failed and was rolled back: {trial.instead_of.why}; {deployment} runs again"
        )
        robot.history.note("outcome", text, trial.instead_of.deployment, outcome=outcome)
    else:
        robot.history.note("outcome", f"{deployment} is healthy{took}", deployment, outcome=outcome)


def _roll_back(robot: Robot, step: RollBack) -> None:
    decided = machine.boottime()
    if not _sound(robot, step.to):
        return
    trial = robot.ledger.trial
    assert trial is not None
    attempt = Attempt(
        deployment=step.failed,
        generation=trial.generation,
        why=step.why,
        restarted=trial.restarted,
        log=robot.services.last_lines(step.service),
    )
    robot.history.note(
        "rolled_back", f"{step.failed} failed: {step.why}; going back to {step.to}", step.failed, step.service
    )
    plan = robot.plan_of(step.to)
    ledger = record.condemned(robot.ledger, step.why)
    _make_live(robot, ledger, plan, instead_of=attempt, decided=decided)


def _fall_through(robot: Robot, step: FallThrough) -> None:
    decided = machine.boottime()
    if not _sound(robot, step.to):
        return
    ledger, attempt = record.fell_through(robot.ledger, step.why)
    stays = "; none came up, so it stays with" if step.to in attempt.tried else "; going on to"
    robot.history.note(
        "fell_through", f"{step.failed} did not come up either: {step.why}{stays} {step.to}", step.failed, step.service
    )
    _make_live(robot, ledger, robot.plan_of(step.to), instead_of=attempt, decided=decided)


def _come_back(robot: Robot, step: ComeBack) -> None:
    decided = machine.boottime()
    if not _sound(robot, step.to):
        return
    why = robot.ledger.slots[step.failed].why or ""
    attempt = Attempt(deployment=step.failed, generation=robot.ledger.generation, why=why)
    robot.history.note("rolled_back", f"nothing ran since {step.failed} failed; now {step.to} can", step.to)
    _make_live(robot, robot.ledger, robot.plan_of(step.to), instead_of=attempt, decided=decided)


def _sound(robot: Robot, deployment: DeploymentId) -> bool:
    """Whether what is to be gone back to is undamaged and its variables can be opened; if only its tree is not, that is mended, and the
    step is to be decided anew."""
    trouble = robot.variables.trouble(deployment)
    if trouble is not None:
        robot.history.trouble(f"{deployment} cannot be gone back to: its variables cannot be opened: {trouble}")
        return False
    if robot.slots.check(deployment):
        return True
    robot.history.note("trouble", f"{deployment} is damaged and cannot be gone back to", deployment)
    if deployment in robot.slots.present:
        robot.slots.lay_out(deployment)
        robot.slots.laid_out.add(deployment)
    return False


def _give_up(robot: Robot, step: GiveUp) -> None:
    log = robot.services.last_lines(step.service)
    robot.remember(record.gave_up(robot.ledger, step.why, machine.utc_now(), log))
    robot.services.use(None)
    robot.history.note(
        "failed",
        f"{step.failed} failed: {step.why}; there is nothing to go back to, so nothing runs",
        step.failed,
        step.service,
        robot.ledger.outcome,
    )


async def _prune(robot: Robot, deployment: DeploymentId) -> None:
    await asyncio.to_thread(robot.slots.prune, deployment)
    robot.variables.forget(deployment)
    robot.remember(record.pruned(robot.ledger, deployment))
    robot.collect_due = True


def spare(robot: Robot) -> tuple[DeploymentId, ...]:
    """Deployments that are retained although nothing needs them, oldest first."""
    return keeping(robot, robot.slots.current(), fallback_of(robot), most=0).prune


async def make_room(robot: Robot) -> bool:
    """The disk was too full: forget the older half of what is retained, and remove what nothing needs. Whether that gave room."""
    found = spare(robot)
    for deployment in found[: (len(found) + 1) // 2]:
        await _prune(robot, deployment)
    return await collect(robot) > 0


async def collect(robot: Robot) -> int:
    """Remove objects that no slot needs; bytes given back."""
    robot.collect_due = False
    if robot.fetches.deployment is not None:
        return 0
    async with robot.content_lock:
        return await asyncio.to_thread(robot.slots.collect)
