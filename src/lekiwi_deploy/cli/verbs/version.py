"""`lekiwi version`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy import __version__
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.wire.protocol import PROTOCOL


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    version: str
    protocol: int
    schema: str = "lekiwi.version/1"


@click.command("version", cls=Verb)
@click.pass_obj
def version(run: Run) -> None:
    """Print the version of this program."""
    run.out.line(f"lekiwi {__version__}")
    run.out.object(Version(version=__version__, protocol=PROTOCOL))
