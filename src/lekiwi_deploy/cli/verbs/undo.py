"""`lekiwi undo`: takes a change back, whatever it was."""

from __future__ import annotations

import time

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.changes import Undo, Undone
from lekiwi_deploy.wire.progress import RolloutStarted


@click.command("undo", cls=Verb, uses=("environment", "project"))
@click.argument("change", required=False, type=click.IntRange(1), metavar="[NUMBER]")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--dry-run", is_flag=True, help="Only say which change it would be, and what that would do.")
@click.option("--no-wait", is_flag=True, help="Do not follow the robots that it moves.")
@click.option("--timeout", metavar="SPAN", help="Follow them no longer than that: 90s, 10m (0: not at all).")
@click.pass_obj
def undo(run: Run, change: int | None, reason: str, dry_run: bool, no_wait: bool, timeout: str | None) -> int:
    """Take the last change back (of the environment, with -e), or the one with that NUMBER of `lekiwi activity`.

    Deployments, rollbacks, promotions, aliases, variables, policies, groups, freezes, labels, moves, drains, pauses. Said twice it goes further
    back; the number of an undo does the change again. Where something newer is in the way, that is named and nothing is done.
    """
    began = time.monotonic()
    from lekiwi_deploy.cli.following import timeout_s

    limit = 0 if no_wait else timeout_s(timeout)
    asked = Undo(change=change, environment=run.flags.environment, reason=reason, dry_run=True)
    meant = run.api.undo(run.project, asked)
    out = run.out
    when = f", {ago(meant.at, run.now())}" if meant.at is not None else ""
    out.say(Cell(f"change {meant.change}", "bold"), f" by {meant.by}{when}: {meant.was}")
    if dry_run:
        out.line(f"Would take it back: {meant.text}")
        out.object(meant)
        return 0
    done = run.api.undo(run.project, Undo(change=meant.change, environment=run.flags.environment, reason=reason))
    code = _follow(run, done, began=began, limit=limit)
    out.object(done)
    return code


def _follow(run: Run, done: Undone, *, began: float, limit: float | None) -> int:
    from lekiwi_deploy.cli.following import follow

    out, code = run.out, 0
    out.line(Cell("↩ ", "cyan"), f"Taken back: {done.text}")
    if done.rollout is not None and limit != 0:
        moved, there = run.api.rollout(done.rollout), run.api.deployment(done.deployment or "")
        started = RolloutStarted(
            moved.id, moved.deployment, there.deployment.version, moved.environment, moved.counts.total
        )
        followed = follow(run, done.rollout, began=began, timeout=limit, back=True, rollout=started)
        for line in followed.lines:
            out.line(*line)
        code = followed.code
    elif done.rollout is not None:
        out.say(f"   robots are on their way; follow them: lekiwi inspect {done.rollout} --wait")
    if done.redo:
        out.say(Cell(f"   redo: {done.redo}", "dim"))
    return code
