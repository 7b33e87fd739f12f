"""`lekiwi cancel`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run


@click.command("cancel", cls=Verb)
@click.argument("deployment")
@click.pass_obj
def cancel(run: Run, deployment: str) -> None:
    """Stop the build of DEPLOYMENT, or its rollout: robots that have it keep it, no other gets it."""
    made = run.api.cancel(deployment)
    run.out.object(made)
    run.out.line(f"{made.id} {made.version}: {made.status.replace('_', ' ')}")
    if made.robots.live:
        run.out.say(f"   {made.robots.live} of {made.robots.total} robots run it; take them back: lekiwi rollback")
