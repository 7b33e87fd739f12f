"""`lekiwi cancel`"""

from __future__ import annotations

import time

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.changes import Cancel
from lekiwi_deploy.wire.progress import RolloutStarted

_WHAT = {
    "build": "its build is stopped",
    "request": "it waits for approval no more",
    "rollout": "its rollout is stopped",
    "nothing": "nothing to stop",
}


@click.command("cancel", cls=Verb, uses=("environment",))
@click.argument("deployment")
@click.option("--revert", is_flag=True, help="Robots that took it go back to what ran before, too.")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--no-wait", is_flag=True, help="With --revert: do not follow the way back.")
@click.pass_obj
def cancel(run: Run, deployment: str, revert: bool, reason: str, no_wait: bool) -> int:
    """Stop DEPLOYMENT wherever it is: its build (every process of it), its wait for approval, or its waves: nobody else is asked, and a robot
    that is switching finishes. What robots have already they keep, unless --revert.
    """
    began = time.monotonic()
    out = run.out
    made = run.api.cancel(deployment, Cancel(revert=revert, reason=reason, environment=run.flags.environment))
    out.line(Cell(f"{made.id} {made.version}", "bold"), f": {_WHAT.get(made.stopped, made.stopped)}")
    if made.text:
        out.say(f"   {made.text}")
    if made.undo:
        out.say(Cell("   take it from those, too: ", "dim"), Cell(made.undo, "cyan"))
    code = 0
    if made.reverting is not None and not no_wait:
        from lekiwi_deploy.cli.following import follow

        back = run.api.rollout(made.reverting)
        there = run.api.deployment(back.deployment).deployment
        started = RolloutStarted(made.reverting, there.id, there.version, back.environment, back.counts.total)
        followed = follow(run, made.reverting, began=began, timeout=None, back=True, rollout=started)
        for line in followed.lines:
            out.line(*line)
        code = followed.code
    out.object(made)
    return code
