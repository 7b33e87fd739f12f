"""How the last rollback of an environment fares: `lekiwi rollback status`."""

from __future__ import annotations

import msgspec

from lekiwi_deploy.cli.environments import the_environment
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Audit, Environment, Rollout, RolloutStatus
from lekiwi_deploy.wire.reasons import in_zone, sentence

_KINDS = "environment.rollback,environment.restore,environment.recover"


class RollbackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. None: nothing was ever rolled back there (`change`), or it moved no robots (`rollout`)."""

    environment: str
    change: Audit | None
    rollout: Rollout | None
    frozen: bool
    schema: str = "lekiwi.rollback-status/1"


def show_status(run: Run) -> int:
    """Prints it; the exit code is 0, whatever came of it."""
    name = the_environment(run)
    changes = run.api.activity(run.project, {"environment": name, "type": _KINDS, "limit": 1})
    environment = next(one for one in run.api.project(run.project).environments if one.name == name)
    change = changes[0] if changes else None
    rollout = _rollout(run, change, environment)
    run.out.object(
        RollbackStatus(environment=name, change=change, rollout=rollout, frozen=environment.freeze is not None)
    )
    if change is None:
        run.out.line(f"{name} was never rolled back")
        return 0
    why = f" ({change.reason.splitlines()[0]})" if change.reason else ""
    run.out.line(Cell(name, "bold"), f"  {ago(change.at, run.now())}, {change.actor}: {change.text}{why}")
    if rollout is not None:
        _robots(run, rollout)
    if environment.freeze is not None:
        thaw = f"lekiwi unfreeze -e {name}"
        run.out.line(Cell("❄  frozen: ", "cyan"), f"pushes do not go live until {thaw}")
    if change.undo:
        run.out.say(Cell(f"undo: {change.undo}", "dim"))
    return 0


def _rollout(run: Run, change: Audit | None, environment: Environment) -> Rollout | None:
    """The one that brings it to robots: as noted; of what the server took back by itself, the one of what is live."""
    if change is None:
        return None
    id = change.detail.get("rollout")
    if change.action == "environment.recover":
        id = run.api.deployment(environment.live).deployment.rollout if environment.live is not None else None
    return run.api.rollout(id) if isinstance(id, str) else None


def _robots(run: Run, rollout: Rollout) -> None:
    counts = rollout.counts
    done = f"{counts.live} of {plural(counts.total, 'robot')} confirmed {rollout.deployment}"
    if rollout.status is RolloutStatus.ROLLING:
        run.out.line(Cell("rolling", "cyan"), f"  {done}; follow it: lekiwi inspect {rollout.id} --wait")
    else:
        seconds = (rollout.finished_at - rollout.created_at).total_seconds() if rollout.finished_at else 0.0
        style = "green" if rollout.status is RolloutStatus.DONE else "yellow"
        run.out.line(Cell(rollout.status.replace("_", " "), style), f"  {done} in {seconds:.1f} s")
    for robot in rollout.robots:
        if robot.waiting:
            run.out.line(f"  {robot.robot}: " + "; ".join(sentence(in_zone(one, None)) for one in robot.waiting))
