"""`lekiwi schema`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.client.project_schema import schema_bytes


@click.command("schema", cls=Verb)
@click.pass_obj
def schema(run: Run) -> None:
    """Print the JSON schema of lekiwi.yaml, for an editor without a server: lekiwi schema > lekiwi.schema.json"""
    run.out.raw(schema_bytes().decode())
