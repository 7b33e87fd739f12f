"""`lekiwi freeze`, `lekiwi unfreeze`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.environments import the_environment
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run


@click.command("freeze", cls=Verb, uses=("environment", "project"))
@click.option("--reason", default="", help="Why; the next push says so.")
@click.pass_obj
def freeze(run: Run, reason: str) -> None:
    """Stop pushes from going live by themselves. `lekiwi deploy` still works, with a warning."""
    environment = run.api.freeze(run.project, the_environment(run), reason)
    run.out.object(environment)
    run.out.line(f"❄  {environment.name} of {environment.project} is frozen: pushes do not go live")
    run.out.say(f"   undo: lekiwi unfreeze -e {environment.name}")


@click.command("unfreeze", cls=Verb, uses=("environment", "project"))
@click.pass_obj
def unfreeze(run: Run) -> None:
    """Let pushes go live again. What was pushed meanwhile goes live now."""
    environment = run.api.unfreeze(run.project, the_environment(run))
    run.out.object(environment)
    run.out.line(f"{environment.name} of {environment.project} is not frozen: pushes go live")
    run.out.say(f"   undo: lekiwi freeze -e {environment.name}")
