"""`lekiwi diff`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run


@click.command("diff", cls=Verb, uses=("environment", "project"))
@click.argument("a")
@click.argument("b")
@click.pass_obj
def diff(run: Run, a: str, b: str) -> None:
    """What differs from A to B: commits, dependencies, settings, names of variables, files, and which services would be started again.

    Each is an environment (what is live there) or a deployment: an id, a version, a commit, an alias, a time. The values of variables are
    never shown.
    """
    from lekiwi_deploy.cli.differing import lines_of

    found = run.api.diff(run.project, a, b, environment=run.environment, utc_offset_min=run.utc_offset_min)
    run.out.object(found)
    for line in lines_of(found, run.now(), verbose=run.out.verbose > 0):
        run.out.line(*line)
