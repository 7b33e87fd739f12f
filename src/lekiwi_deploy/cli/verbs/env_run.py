"""`lekiwi env run -- CMD`: a program of this machine with an environment's configuration."""

from __future__ import annotations

import os
import shutil

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import BadInput, Failed


@click.command(
    "run",
    cls=Verb,
    uses=("environment", "project", "robot"),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD…")
@click.pass_obj
def run_(run: Run, command: tuple[str, ...]) -> None:
    """Run CMD here with the configuration of an environment, or with -r of a robot. Secrets cannot be read: it says which are left out. What
    is set here already goes before it."""
    found = run.api.variables(
        run.project,
        {"environment": None if run.flags.robot else run.environment, "robot": run.flags.robot, "resolved": "true"},
    )
    if shutil.which(command[0]) is None:
        raise BadInput(f"there is no program {command[0]!r} here")
    config = {one.name: one.value for one in found.variables if one.value is not None}
    missing = [one.name for one in found.variables if one.value is None and one.name not in os.environ]
    if missing:
        run.out.warn(
            f"left out, being secrets that nobody can read: {', '.join(missing)}. Set them here if {command[0]} needs them"
        )
    run.out.close()
    try:
        os.execvpe(command[0], list(command), {**config, **os.environ})
    except OSError as error:
        raise Failed(f"{command[0]} cannot be run: {error.strerror}") from error
