"""`lekiwi login`"""

from __future__ import annotations

import os
import sys

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.settings import DEFAULT_PROFILE, Profile, Target, checked_token, read_token_file
from lekiwi_deploy.cli.spans import ahead
from lekiwi_deploy.client.address import checked_address
from lekiwi_deploy.errors import BadInput


@click.command("login", cls=Verb)
@click.argument("url", required=False)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@click.pass_obj
def login(run: Run, url: str | None, token_stdin: bool) -> None:
    """Log in to a server: keeps a token for it, readable by you only.

    The token comes from stdin (--token-stdin), from a file (--token-file) or, on a terminal, from a hidden question. The
    first one of a server lies in its data folder as `owner-token`.
    """
    address = _address(run, url)
    token = _token(run, token_stdin, address)
    target = Target(address, token, run.flags.insecure_http, "login")
    identity = run.client(target).whoami()
    name = run.flags.profile or os.environ.get("LEKIWI_PROFILE") or DEFAULT_PROFILE
    path = run.profiles.write(
        name, Profile(api=address, token=token, name=identity.name, insecure_http=run.flags.insecure_http)
    )
    expires = f", the token expires {ahead(identity.expires_at, run.now())}" if identity.expires_at else ""
    run.out.line(f"Logged in to {address} as {identity.name} ({identity.role}{expires})")
    run.out.say(f"   kept in {path}; undo: lekiwi logout" + ("" if name == DEFAULT_PROFILE else f" --profile {name}"))
    run.out.object(identity)
    for variable in ("LEKIWI_API", "LEKIWI_TOKEN"):
        if os.environ.get(variable):
            run.out.warn(f"{variable} is set and goes before this login")


def _address(run: Run, url: str | None) -> str:
    given = url or run.flags.api or os.environ.get("LEKIWI_API")
    if given:
        return checked_address(given)
    known = run.profiles.read(run.flags.profile or DEFAULT_PROFILE)
    if known is not None:
        return known.api
    raise BadInput("log in to which server?", next=("lekiwi login https://deploy.example.org --token-stdin",))


def _token(run: Run, from_stdin: bool, address: str) -> str:
    if from_stdin and run.flags.token_file:
        raise BadInput("give the token once: --token-stdin or --token-file")
    if from_stdin:
        return checked_token(sys.stdin.readline(1000))
    if run.flags.token_file:
        return read_token_file(run.flags.token_file)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(
            "there is no terminal to ask for the token on",
            next=(f"lekiwi login {address} --token-stdin < FILE", f"lekiwi login {address} --token-file FILE"),
            details={"reason": "no_terminal"},
        )
    return checked_token(click.prompt(f"Token for {address}", hide_input=True, err=True))
