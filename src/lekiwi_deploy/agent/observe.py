"""Looking at the robot: what `robot/steps.py` decides from."""

from __future__ import annotations

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.robot.boot import boots
from lekiwi_deploy.robot.fallback import fallback
from lekiwi_deploy.robot.ledger import candidates, named, tried
from lekiwi_deploy.robot.retention import Retention, retention
from lekiwi_deploy.robot.settling import settling
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.robot.steps import Observed
from lekiwi_deploy.robot.trial import Good, Judgement, Waiting, judge
from lekiwi_deploy.robot.wanted import target
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.platforms import best_key


def observe(robot: Robot) -> Observed:
    """The robot, now."""
    ledger, slots = robot.ledger, robot.slots
    current = slots.current()
    back = fallback_of(robot)
    kept = keeping(robot, current, back)
    changes = robot.services.decide(ledger.trial, back, _spoiled(robot))
    first = boots(ledger, back)
    return Observed(
        slots={id_: slot.state for id_, slot in ledger.slots.items()},
        present=frozenset(slots.present),
        laid_out=frozenset(slots.laid_out),
        live=ledger.live,
        current=current,
        fallback=back,
        lost=fallback(
            candidates(ledger, frozenset(ledger.slots)),
            live=ledger.live,
            came_from=ledger.came_from,
            tried=tried(ledger),
        ),
        stale=robot.services.stale(),
        changes=changes.actions,
        change_in_s=changes.wake_in_s,
        boots=first,
        kept_for_boot=robot.keeps_for_boot(first),
        judgement=_judgement(robot),
        boot_counted=ledger.trial is None or ledger.trial.boot == machine.boot_id(),
        fetching=robot.fetches.deployment,
        blocked=robot.fetches.blocked(),
        unfit=_unfit(robot),
        why={id_: slot.why for id_, slot in ledger.slots.items() if slot.why is not None},
        prune=kept.prune,
        tear_down=kept.tear_down,
        settling=settling(ledger.changes, target(ledger)),
    )


def fallback_of(robot: Robot) -> DeploymentId | None:
    """Where the robot goes by itself when what is live fails."""
    ledger = robot.ledger
    known = candidates(ledger, frozenset(robot.slots.present) - robot.variables.unreadable())
    return fallback(known, live=ledger.live, came_from=ledger.came_from, tried=tried(ledger))


def keeping(
    robot: Robot, current: DeploymentId | None, back: DeploymentId | None, *, most: int | None = None
) -> Retention:
    """What need not stay on the disk. `most`: how many to retain, if not as many as the server said."""
    ledger = robot.ledger
    keep = robot.config.max_deployments or (ledger.desired.max_deployments if ledger.desired is not None else 100)
    staged = {id_: slot.staged for id_, slot in ledger.slots.items() if slot.staged or id_ in robot.slots.present}
    needed = named(ledger) | robot.services.in_use()
    if current is not None:
        needed |= {current}
    return retention(
        {id_: order for id_, order in staged.items() if ledger.slots[id_].state is not SlotState.ABSENT},
        frozenset(robot.slots.laid_out),
        keep=keep if most is None else most,
        live=ledger.live,
        fallback=back,
        needed=needed,
    )


def _judgement(robot: Robot) -> Judgement | None:
    trial = robot.ledger.trial
    if trial is None:
        return None
    judgement = judge(trial, robot.services.seen(trial), boot=machine.boot_id(), now=machine.boottime())
    if robot.services.run_rollback_hooks(trial) and isinstance(judgement, Good):
        return Waiting(trial.judged)
    return judgement


def _spoiled(robot: Robot) -> frozenset[DeploymentId]:
    """Deployments that failed here."""
    return frozenset(id_ for id_, slot in robot.ledger.slots.items() if slot.state is SlotState.QUARANTINED)


def _unfit(robot: Robot) -> dict[DeploymentId, str]:
    """What is wanted, if it is here and has nothing for this platform."""
    desired = robot.ledger.desired.deployment if robot.ledger.desired is not None else None
    if desired is None or desired.id not in robot.slots.present:
        return {}
    manifest = robot.slots.manifest(desired.id)
    if not manifest.platforms or best_key(manifest.platforms, robot.platform) is not None:
        return {}
    return {desired.id: robot.platform.key}
