"""`lekiwi list`"""

from __future__ import annotations

from datetime import datetime

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column, Row
from lekiwi_deploy.wire.api import Counts, Deployment, DeploymentStatus, Environment
from lekiwi_deploy.wire.reasons import AwaitsApproval

COLUMNS = (
    Column("ID"),
    Column("VERSION"),
    Column("AGE"),
    Column(""),
    Column("ENV", 3),
    Column("COMMIT", 4),
    Column("STATUS", 1),
    Column("ROBOTS", 2),
    Column("BY", 5),
)
_STYLES = {"live": "green", "failed": "red", "rolled_back": "yellow", "partial": "yellow", "building": "cyan"}


@click.command("list", cls=Verb, uses=("environment", "project"))
@click.option(
    "--status", type=click.Choice([status.value for status in DeploymentStatus]), help="Only those that stand there."
)
@click.option("--since", metavar="TIME", help="Only newer ones: 2h, 3-days-ago, 2026-08-21.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended.")
@click.pass_obj
def listing(run: Run, status: str | None, since: str | None, limit: int, cursor: str | None) -> None:
    """Recent deployments of the project, newest first, of all its environments or that of --env."""
    query = {
        "environment": run.flags.environment,
        "status": status,
        "since": since,
        "utc_offset_min": run.utc_offset_min if since else None,
        "limit": limit,
        "cursor": cursor,
    }
    found = run.api.deployments(run.project, query)
    run.out.object(found)
    if not found.deployments:
        run.out.say(f"No deployments of {run.project}" + (" match." if status or since or cursor else " yet."))
        return
    run.out.table(COLUMNS, [row(deployment, run.now()) for deployment in found.deployments])
    first = next(
        (one for one in found.deployments for reason in one.waiting if isinstance(reason, AwaitsApproval)), None
    )
    if first is not None:
        run.out.say(Cell("✋ ", "yellow"), f"{first.id} waits for approval: ", Cell("lekiwi approvals", "cyan"))
    for environment in found.environments:
        for line in frozen(environment, run.now()):
            run.out.say(*line)
    if found.cursor:
        run.out.say(Cell(f"more: lekiwi list --cursor {found.cursor}", "dim"))


def row(deployment: Deployment, now: datetime) -> Row:
    """A line of the list: id, version, age, active mark first, as the product shows."""
    return (
        deployment.id,
        deployment.version,
        ago(deployment.created_at, now),
        "✅ Active" if deployment.active else "",
        ", ".join(deployment.live_in) if len(deployment.live_in) > 1 else deployment.environment or "",
        (deployment.commit or "")[:7],
        stand(deployment),
        robots(deployment.robots),
        deployment.author or deployment.by,
    )


def stand(deployment: Deployment) -> Cell:
    """Its status, or for whom it waits."""
    if any(isinstance(reason, AwaitsApproval) for reason in deployment.waiting):
        return Cell("waits for approval", "yellow")
    return Cell(deployment.status.replace("_", " "), _STYLES.get(deployment.status, ""))


def robots(counts: Counts) -> str:
    """`8/9 +1 pending`; nothing when no robot ever was to run it. Where none runs it the status says why."""
    if not counts.total:
        return ""
    text = f"{counts.live}/{counts.total}"
    text += f" +{counts.pending} pending" if counts.pending else ""
    return text + (f" {counts.failed} failed" if counts.failed and counts.live else "")


def frozen(environment: Environment, now: datetime) -> list[tuple[Cell | str, ...]]:
    """What to say of an environment in which pushes do not go live; nothing of others."""
    freeze = environment.freeze
    if freeze is None:
        return []
    why = f": {freeze.why}" if freeze.why else ""
    said = f" is frozen since {ago(freeze.at, now)} by {freeze.by}{why}"
    return [
        (Cell(f"❄  {environment.name}", "cyan"), said),
        (Cell("   pushes do not go live until ", "dim"), Cell(f"lekiwi unfreeze -e {environment.name}", "cyan")),
    ]
