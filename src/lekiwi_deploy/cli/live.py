"""What follows when something was asked to go live: it is watched up to the verdict, or it waits for people."""

from __future__ import annotations

from lekiwi_deploy.cli.following import Followed, follow
from lekiwi_deploy.cli.narrator import Line
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ahead
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Deployment
from lekiwi_deploy.wire.approvals import ApprovalRequest, Vote
from lekiwi_deploy.wire.ids import EnvironmentName, RolloutId
from lekiwi_deploy.wire.progress import RolloutStarted


def watch(
    run: Run,
    made: Deployment,
    rollout: RolloutId,
    environment: EnvironmentName,
    *,
    began: float,
    timeout: float | None,
) -> Followed:
    """Follows the rollout of `made`, and says how it ended."""
    total = run.api.rollout(rollout).counts.total
    started = RolloutStarted(rollout, made.id, made.version, environment, total)
    followed = follow(run, rollout, began=began, timeout=timeout, rollout=started, cancel=made.id)
    for line in followed.lines:
        run.out.line(*line)
    return followed


def waits(request: ApprovalRequest, run: Run) -> list[Line]:
    """What a request waits for, and what to do."""
    given = [vote.by for vote in request.votes if vote.approved]
    left = max(1, request.needed - len(given))
    said = f"{', '.join(given)} approved; " if given else ""
    said += f"{left} more to go" if given else f"{left} approval{'s' if left != 1 else ''}"
    who = ", not by its author" if request.not_author else ""
    until = ahead(request.expires_at, run.now())
    return [
        ("✋ ", Cell("Waits for approval", "yellow"), f" to go live in {request.environment}: {said}{who} ({until})"),
        (Cell("   → ", "dim"), Cell(f"lekiwi approve {request.deployment} -e {request.environment}", "cyan")),
    ]


def voted(vote: Vote) -> str:
    """`anna approved: looks good`."""
    return f"{vote.by} {'approved' if vote.approved else 'rejected'}" + (f": {vote.reason}" if vote.reason else "")
