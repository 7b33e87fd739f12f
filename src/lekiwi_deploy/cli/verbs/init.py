"""`lekiwi init`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.stack import guess, project_file
from lekiwi_deploy.client.project_schema import schema_line
from lekiwi_deploy.errors import Conflict, Failed, Unauthenticated

FILE = "lekiwi.yaml"


def _schema(run: Run) -> str:
    """The line that leads an editor to the schema; empty when no server is known yet, and an editor would find none."""
    try:
        return schema_line(run.target.api)
    except Unauthenticated:
        return ""


class Initialised(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    file: str
    stack: str
    schema: str = "lekiwi.init/1"


@click.command("init", cls=Verb)
@click.pass_obj
def init(run: Run) -> None:
    """Write a commented lekiwi.yaml for what lies in this folder. Never overwrites one."""
    here = Path.cwd()
    stack = guess({item.name + ("/" if item.is_dir() else "") for item in here.iterdir()})
    path = here / FILE
    try:
        with path.open("x") as file:
            file.write(project_file(stack, _schema(run)))
    except FileExistsError as error:
        raise Conflict(f"{path} exists already; it is not overwritten") from error
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from error
    run.out.object(Initialised(file=str(path), stack=stack.name))
    run.out.line(f"Wrote {FILE} ({stack.name}); all of it is comments, to take up what you need")
    if run.linked is None:
        run.out.say("   next: lekiwi link")
