"""`lekiwi git-credential get|store|erase`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.git_token import answer


@click.command("git-credential", hidden=True, add_help_option=False)
@click.argument("action")
def git_credential(action: str) -> int:
    """Only for git; `main` answers it before the rest is loaded, unless flags stand before the verb."""
    return answer([action])
