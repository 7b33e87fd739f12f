"""The loop: observe, ask what to do, do it. Everything else only nudges it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from lekiwi_deploy.agent.carry_out import carry_out, collect, make_room, spare
from lekiwi_deploy.agent.observe import observe
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.content.objects import CorruptObject
from lekiwi_deploy.content.slots import MissingObjects
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.backoff import fetch_delay
from lekiwi_deploy.robot.steps import Activate, LayOut, Next, Observed, Step, next_steps
from lekiwi_deploy.robot.trial import Waiting
from lekiwi_deploy.robot.wanted import target
from lekiwi_deploy.wire.reasons import DiskFull, LowDisk

_LONGEST_S = 300.0


async def reconcile(robot: Robot) -> None:
    """Runs until cancelled. Nothing that goes wrong with a disk or a deployment ends it."""
    troubles = 0
    while True:
        robot.nudged.clear()
        try:
            seen = observe(robot)
            next_ = await _with_consent(robot, seen)
            if robot.waiting != next_.waiting:
                robot.waiting = next_.waiting
            robot.turned()
            for step in next_.steps:
                await _do(robot, step)
            if not next_.steps:
                if robot.collect_due or (_short_of_disk(robot) and spare(robot)):
                    await _give_room(robot, seen)
                troubles = 0
                await _nudged(robot, _wake_in(robot, seen))
            else:
                await asyncio.sleep(0)
        except (OSError, LekiwiError) as error:
            troubles += 1
            text = error.message if isinstance(error, LekiwiError) else str(error)
            robot.history.trouble(f"a step failed and is tried again: {text}")
            await asyncio.sleep(min(10.0, fetch_delay(troubles, robot.randomness())))


async def _with_consent(robot: Robot, seen: Observed) -> Next:
    """What to do; a switch that is due waits for variables that cannot be opened, and for holds and conditions, which are looked at only
    then."""
    ledger = robot.ledger
    next_ = next_steps(target(ledger), seen)
    due = next((step.deployment for step in next_.steps if isinstance(step, Activate)), None)
    if due is None:
        robot.consent.over()
        sealed = robot.sealed_off(ledger.live) if ledger.live is not None and target(ledger) == ledger.live else None
        return next_ if sealed is None else replace(next_, waiting=(*next_.waiting, sealed))
    sealed = robot.sealed_off(due)
    if sealed is not None:
        return next_steps(due, seen, (sealed,))
    holds = await robot.held_off(due)
    if robot.ledger is not ledger:  # something else may be wanted by now
        robot.nudge()
        return next_steps(ledger.live, seen)
    return next_steps(due, seen, holds) if holds else next_


async def _do(robot: Robot, step: Step) -> None:
    try:
        await carry_out(robot, step)
    except (MissingObjects, CorruptObject) as error:
        if not isinstance(step, LayOut):
            raise
        if isinstance(error, CorruptObject):
            robot.slots.objects.discard(error.digest)
        robot.slots.check(step.deployment)
    except OSError as error:
        if not isinstance(step, LayOut):
            raise
        robot.fetches.block(step.deployment, error)


async def _give_room(robot: Robot, seen: Observed) -> None:
    full = any(isinstance(reason, DiskFull) for reason in seen.blocked.values()) or _short_of_disk(robot)
    gave = await make_room(robot) if full else await collect(robot) > 0
    if full and gave:
        robot.fetches.unblock()
        robot.nudge()


def _short_of_disk(robot: Robot) -> bool:
    """Whether a switch waits for room on the disk, which old deployments may take."""
    return any(isinstance(reason, LowDisk) for reason in robot.waiting)


async def _nudged(robot: Robot, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await robot.nudged.wait()


def _wake_in(robot: Robot, seen: Observed) -> float:
    """Seconds until something changes by itself."""
    times = [_LONGEST_S]
    if isinstance(seen.judgement, Waiting) and seen.judgement.good_in_s is not None:
        times.append(seen.judgement.good_in_s)
    if seen.change_in_s is not None:
        times.append(seen.change_in_s)
    consent = robot.consent.look_again_in()
    if consent is not None:
        times.append(consent)
    retry = robot.fetches.next_try_in()
    if retry is not None:
        times.append(retry)
    return max(0.01, min(times))
