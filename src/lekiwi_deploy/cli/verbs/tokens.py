"""`lekiwi tokens …`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb, VerbGroup, because
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.wire.api import NewToken, Role, TokenInfo


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What `tokens list --json` prints."""

    tokens: tuple[TokenInfo, ...]
    schema: str = "lekiwi.tokens/1"


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """What `tokens revoke --json` prints."""

    token: str
    schema: str = "lekiwi.token-revoked/1"


tokens = VerbGroup("tokens", help="Tokens of people and programs; for owners.")


@tokens.command("create", cls=Verb)
@because
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="deployer", show_default=True)
@click.option("--days", type=click.IntRange(1, 365), default=90, show_default=True, help="Until it expires.")
@click.pass_obj
def create(run: Run, name: str, role: str, days: int) -> None:
    """Make a token for NAME (who or what it is for) and print it: the only time that it can be seen."""
    made = run.api.create_token(NewToken(name=name, role=Role(role), days=days))
    run.out.object(made)
    run.out.line(made.secret or "")
    run.out.say(
        Cell(f"   {made.id} for {made.name} ({made.role}), expires {ahead(made.expires_at, run.now())}.", "dim")
    )
    run.out.say(Cell(f"   It is not shown again. undo: lekiwi tokens revoke {made.id}", "dim"))


@tokens.command("list", cls=Verb)
@click.option("--all", "everything", is_flag=True, help="Revoked and expired ones, too.")
@click.pass_obj
def list_(run: Run, everything: bool) -> None:
    """Tokens, without their secrets."""
    now = run.now()

    def ended(token: TokenInfo) -> bool:
        return token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)

    found = tuple(token for token in run.api.tokens() if everything or not ended(token))
    run.out.object(Tokens(tokens=found))
    columns = (Column("ID"), Column("NAME"), Column("ROLE"), Column("CREATED", 2), Column("USED", 1), Column("EXPIRES"))
    run.out.table(
        columns,
        [
            (
                token.id,
                token.name,
                token.role.value,
                ago(token.created_at, now),
                ago(token.last_used_at, now),
                "revoked" if token.revoked_at else "expired" if ended(token) else ahead(token.expires_at, now),
            )
            for token in found
        ],
    )


@tokens.command("revoke", cls=Verb)
@because
@click.argument("token", metavar="ID")
@click.pass_obj
def revoke(run: Run, token: str) -> None:
    """Revoke a token, at once. ID is its tok_…, as `tokens list` shows it."""
    run.api.revoke_token(token)
    run.out.object(Revoked(token=token))
    run.out.line(f"{token} is revoked")
