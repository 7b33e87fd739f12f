"""What held a robot, a rollout or a deployment back before: spans that were noted, turns in gradual rollouts, approvals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lekiwi_deploy.fleet.approval import awaited
from lekiwi_deploy.fleet.past import Span, of_fleet, of_steps
from lekiwi_deploy.fleet.past import of_robot as put_together
from lekiwi_deploy.server.store import approvals, progress, rollouts, waits
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.waits import Turn, WaitRow
from lekiwi_deploy.wire.ids import DeploymentId, RobotId, RolloutId
from lekiwi_deploy.wire.reasons import LaterStep, sentence
from lekiwi_deploy.wire.why import PastWait

MAX_SPANS = 20_000
MAX_STORY = 20_000
"""So many entries of a rollout's story are looked through for what it waited for."""


async def of_robot(tx: Transaction, robot: RobotId, limit: int, since: datetime | None = None) -> tuple[PastWait, ...]:
    """The latest `limit` of a robot, newest first; `since`: those that lasted until then."""
    spans = put_together([_span(one) for one in await waits.of_robot(tx, robot, limit, since)])
    turns = [_turn(one, robot) for one in await waits.turns(tx, robot, limit, since)]
    return tuple(sorted((*spans, *turns), key=lambda one: one.since, reverse=True)[:limit])


async def of_rollouts(tx: Transaction, ids: Sequence[RolloutId]) -> tuple[PastWait, ...]:
    """Of rollouts: what all of each waited for, by time, then what robots did."""
    steps = [one for id in ids for one in of_steps(await progress.read(tx, id, 0, MAX_STORY))]
    spans = [_span(one) for one in await waits.of_rollouts(tx, ids, MAX_SPANS)]
    return (*sorted(steps, key=lambda one: one.since), *of_fleet(spans))


async def of_deployment(tx: Transaction, deployment: DeploymentId) -> tuple[PastWait, ...]:
    """Of a deployment: people who were asked, then all its rollouts."""
    found: list[PastWait] = []
    for request in await approvals.views(tx, await approvals.of_deployment(tx, deployment)):
        if request.ended is None or request.ended_at is None:
            continue
        said = [vote.by for vote in request.votes if vote.approved == (request.ended == "approved")]
        by = f" by {', '.join(said)}" if said and request.ended in ("approved", "rejected") else ""
        text = f"waited for approval in {request.environment}: {request.ended}{by}"
        found.append(
            PastWait(reason=awaited(request), text=text, since=request.asked_at, until=request.ended_at, robots=0)
        )
    return (*found, *await of_rollouts(tx, await rollouts.ids_of_deployment(tx, deployment)))


def _span(row: WaitRow) -> Span:
    return Span(row.robot, row.key, row.reason, row.since, row.until)


def _turn(one: Turn, robot: RobotId) -> PastWait:
    step = one.step + 1 if one.step is not None else one.steps
    reason = LaterStep(rollout=one.rollout, step=step, of=max(step, one.steps), what="turn")
    return PastWait(reason=reason, text=sentence(reason), since=one.since, until=one.until, names=(robot,))
