"""`lekiwi logout`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.settings import DEFAULT_PROFILE


class LoggedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `api` None: there was nothing to forget."""

    profile: str
    api: str | None
    schema: str = "lekiwi.logout/1"


@click.command("logout", cls=Verb)
@click.pass_obj
def logout(run: Run) -> None:
    """Forget the token of the default login, or of --profile. The token stays valid; `lekiwi tokens revoke` ends it."""
    name = run.flags.profile or DEFAULT_PROFILE
    known = run.profiles.read(name)
    run.profiles.remove(name)
    run.out.object(LoggedOut(profile=name, api=known.api if known else None))
    if known is None:
        run.out.line("You were not logged in.")
        return
    run.out.line(f"Logged out of {known.api}")
    run.out.say("   the token itself is still valid; to end it: lekiwi tokens revoke ID")
