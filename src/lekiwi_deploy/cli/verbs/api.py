"""`lekiwi api`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import BadInput

_METHODS = ("GET", "POST", "PATCH", "DELETE")


@click.command("api", cls=Verb)
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("path")
@click.option("--data", metavar="JSON|@FILE|-", help="The body: as it is, from a file, from stdin.")
@click.pass_obj
def api(run: Run, method: str, path: str, data: str | None) -> None:
    """Send one request, with your token, and print the answer as it is: `lekiwi api GET /api/whoami`."""
    if not path.startswith("/"):
        raise BadInput(f"{path[:60]!r} is no path of the API, such as /api/whoami")
    answer = run.api.transport.exchange(method.upper(), path, body=None if data is None else _body(data))
    text = answer.data.decode(errors="replace")
    run.out.raw(text if text.endswith("\n") or not text else text + "\n")


def _body(data: str) -> bytes:
    if data == "-":
        return sys.stdin.buffer.read()
    if data.startswith("@"):
        try:
            return Path(data[1:]).read_bytes()
        except OSError as error:
            raise BadInput(f"{data[1:]} cannot be read: {error.strerror}") from error
    return data.encode()
