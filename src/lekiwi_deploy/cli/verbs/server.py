"""`lekiwi server`"""

from __future__ import annotations

import importlib.util
import os
import sys

import click

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import Failed

_NEEDS = ("litestar", "uvicorn", "psycopg", "obstore", "yaml")


@click.command(
    "server",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def server(run: Run, arguments: tuple[str, ...]) -> None:
    """Run a server on this machine; `lekiwi server --help` says how."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise Failed(
            f"this installation has only the command line and the agent; the server also needs {', '.join(missing)}",
            next=(f"{sys.executable} -m pip install 'lekiwi-deploy[server]'",),
        )
    run.prepare()
    # Another process, so that nothing of the command line stays in memory and its imports stay its own.
    os.execv(sys.executable, [sys.executable, "-m", "lekiwi_deploy.server", *arguments])
