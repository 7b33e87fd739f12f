"""What holds a deployment, a rollout or an environment back as a whole, in the order in which it would be met: quarantine, approval, a robot for a
preview, freeze, and where a rollout stands."""

from __future__ import annotations

from datetime import datetime

from lekiwi_deploy.fleet.approval import awaited
from lekiwi_deploy.server.preview_state import awaiting_robots
from lekiwi_deploy.server.store import approvals, deployments, quarantines, rollouts
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.quarantines import Quarantine
from lekiwi_deploy.server.store.rollouts import RolloutRow
from lekiwi_deploy.wire.api import Deployment, DeploymentStatus, Environment, RolloutStatus
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.reasons import Frozen, LaterStep, Quarantined, Reason, RolloutPaused, sentence
from lekiwi_deploy.wire.remedies import remedy
from lekiwi_deploy.wire.why import HeldBack


def told(reason: Reason, since: datetime | None = None, robot: str = "NAME") -> HeldBack:
    """A reason as people are told it."""
    known = since or getattr(reason, "since", None) or getattr(reason, "at", None)
    return HeldBack(reason=reason, text=sentence(reason), clears=remedy(reason, robot), since=known)


def freeze_of(environment: Environment | None) -> tuple[HeldBack, ...]:
    """The freeze of the environment, if there is one."""
    if environment is None or environment.freeze is None:
        return ()
    freeze = environment.freeze
    return (told(Frozen(environment.name, freeze.by, freeze.at, freeze.why)),)


async def of_deployment(
    tx: Transaction, shown: Deployment, environment: Environment | None, rollout: RolloutRow | None
) -> tuple[HeldBack, ...]:
    """Of one deployment. `shown`: as the API shows it, with what it waits for; `rollout`: its newest."""
    found: list[HeldBack] = []
    if environment is not None and not shown.active:
        held = await quarantines.holding(tx, shown.project, environment.name, shown.id)
        if held is not None:
            found.append(_quarantined(held))
    found += [told(one) for one in shown.waiting]
    if shown.status is DeploymentStatus.BUILT:
        found += freeze_of(environment)
    if rollout is not None:
        found += of_rollout(rollout)
    return tuple(found)


def of_rollout(rollout: RolloutRow) -> tuple[HeldBack, ...]:
    """Where a rollout that is under way stands, if that keeps robots waiting."""
    course = rollout.course
    if rollout.status != RolloutStatus.ROLLING:
        return ()
    if course.paused is not None:
        paused = course.paused
        return (told(RolloutPaused(rollout=rollout.id, by=paused.by, since=paused.at, why=paused.why)),)
    _, _, what = course.told.partition(" ")
    if what not in ("soak", "approval", "nobody"):
        return ()
    step = min(course.at + 1, course.length)
    return (told(LaterStep(rollout=rollout.id, step=step, of=course.length, what=what), course.passed_at),)


async def of_environment(
    tx: Transaction, project: ProjectName, environment: Environment, now: datetime
) -> tuple[HeldBack, ...]:
    """Of everything that is to go live in the environment."""
    found: list[HeldBack] = []
    held = await quarantines.listed(tx, project, environment.name)
    (live,) = await deployments.read_many(tx, [environment.live]) if environment.live is not None else (None,)
    known = {row.id: row for row in await deployments.read_many(tx, [one.deployment for one in held])}
    for one in held:
        row = known.get(one.deployment)
        if row is not None and (live is None or row.created_at > live.created_at):
            found.append(_quarantined(one))
    open_here = await approvals.listed(tx, project, environment.name)
    requests = await approvals.views(tx, [one for one in open_here if one.ended is None])
    found += [told(awaited(one)) for one in requests]
    queued = await awaiting_robots(tx, project, now)
    found += [told(awaits) for awaits in queued.values() if awaits.environment == environment.name]
    found += freeze_of(environment)
    for rollout in await rollouts.all_open(tx, project, environment.name):
        if rollout.kind != "robot":
            found += of_rollout(rollout)
    return tuple(found)


def _quarantined(held: Quarantine) -> HeldBack:
    reason = Quarantined(held.deployment, held.why)
    text = f"{held.deployment} failed here and is not offered again: {held.why}"
    clears = f"deploy a corrected version; or try it again: lekiwi rollback --to={held.deployment} --force"
    return HeldBack(reason=reason, text=text, clears=clears, since=held.at)
