"""`lekiwi cancel`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run


@click.command("cancel", cls=Verb)
@click.argument("deployment")
@click.pass_obj
def cancel(run: Run, deployment: str) -> None:
    """Stop DEPLOYMENT while it is queued or being built. What robots have already is taken back with `lekiwi rollback`."""
    made = run.api.cancel(deployment)
    run.out.object(made)
    run.out.line(f"{made.id} {made.version}: {made.status.replace('_', ' ')}")
