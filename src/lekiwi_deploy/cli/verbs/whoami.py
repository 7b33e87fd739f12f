"""`lekiwi whoami`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ahead


@click.command("whoami", cls=Verb)
@click.pass_obj
def whoami(run: Run) -> None:
    """Who you are to the server, and what you may do."""
    identity = run.api.whoami()
    run.out.object(identity)
    run.out.line(f"{identity.name} ({identity.role}) at {run.target.api}")
    run.out.say(f"   token {identity.token}, expires {ahead(identity.expires_at, run.now())}")
