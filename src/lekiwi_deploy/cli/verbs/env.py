"""`lekiwi env …`: variables of services."""

from __future__ import annotations

import sys

import click

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.variables import began_now, carry_out, flags_of, scope_of
from lekiwi_deploy.cli.verbs.env_files import pull, push
from lekiwi_deploy.cli.verbs.env_look import diff, history, list_
from lekiwi_deploy.cli.verbs.env_run import run_
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.variables import ChangeVariables, SetVariable, checked_value, checked_variable

USES = ("environment", "project", "robot", "tags")

env = VerbGroup(
    "env",
    help="Variables of services: add, update, list, rm, pull, push, history, diff, run.\n\n"
    "A variable is of the project (all environments but previews), or with -e of an environment, with --branch of deployments of a branch, "
    "with --tag of robots with these labels, with -r of one robot. The narrowest goes first. A service gets those that it declares in "
    "lekiwi.yaml (`env:`). Secrets are write-only.",
)
for command in (list_, history, diff, pull, push, run_):
    env.add_command(command)

_BRANCH = click.option("--branch", metavar="BRANCH", help="Of deployments of this branch, or of a pattern: pr-*.")
_SECRET = click.option("--secret/--config", "secret", default=None, help="Write-only, or readable (else by its name).")
_APPLY = click.option("--apply", is_flag=True, help="Deploy what is live again with it, at once.")
_REASON = click.option("--reason", default="", help="Why; kept with it.")


@env.command("add", cls=Verb, uses=USES)
@click.argument("pairs", nargs=-1, required=True, metavar="NAME[=VALUE]…")
@_BRANCH
@_SECRET
@_APPLY
@_REASON
@click.pass_obj
def add(run: Run, pairs: tuple[str, ...], branch: str | None, secret: bool | None, apply: bool, reason: str) -> int:
    """Add a variable. Without =VALUE the value is read from stdin, so that it is in no shell history and process list.

    A name with KEY, TOKEN, SECRET or PASS in it is a secret, and any of a protected environment. It is live from the next deploy on.
    """
    return _set(run, pairs, branch, secret, apply, reason, existing=False)


@env.command("update", cls=Verb, uses=USES)
@click.argument("pairs", nargs=-1, required=True, metavar="NAME[=VALUE]…")
@_BRANCH
@_SECRET
@_APPLY
@_REASON
@click.pass_obj
def update(run: Run, pairs: tuple[str, ...], branch: str | None, secret: bool | None, apply: bool, reason: str) -> int:
    """Give a variable another value. Without =VALUE it is read from stdin."""
    return _set(run, pairs, branch, secret, apply, reason, existing=True)


@env.command("rm", cls=Verb, uses=USES)
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@_BRANCH
@_APPLY
@_REASON
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(run: Run, names: tuple[str, ...], branch: str | None, apply: bool, reason: str, yes: bool) -> int:
    """Remove variables. Robots keep them until the next deploy."""
    began = began_now()
    scope, of = scope_of(run, branch)
    for name in names:
        checked_variable(name)
    if not yes:
        confirm(f"Remove {', '.join(names)}?", f"lekiwi env rm {' '.join(names)}{flags_of(scope, of)} --yes")
    change = ChangeVariables(scope=scope, of=of, remove=tuple(dict.fromkeys(names)), apply=apply, reason=reason)
    return carry_out(run, change, began=began)


def confirm(question: str, command: str) -> None:
    """Asks on a terminal; raises `BadInput` where there is none, `click.Abort` for a no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput("there is no terminal to confirm that on", next=(command,), details={"reason": "no_terminal"})
    click.confirm(question, abort=True, err=True)


def _set(
    run: Run,
    pairs: tuple[str, ...],
    branch: str | None,
    secret: bool | None,
    apply: bool,
    reason: str,
    *,
    existing: bool,
) -> int:
    began = began_now()
    scope, of = scope_of(run, branch)
    unsaid = [pair for pair in pairs if "=" not in pair]
    if len(unsaid) > 1:
        raise BadInput(
            "only one value can be read from stdin: give the others as NAME=VALUE, or push a file",
            next=("lekiwi env push FILE",),
        )
    wanted: list[SetVariable] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        checked_variable(name)
        if not equals:
            value = _read_value(name, "update" if existing else "add")
        wanted.append(SetVariable(name=name, value=checked_value(name, value), secret=secret))
    change = ChangeVariables(
        scope=scope, of=of, set=tuple(wanted), replace=existing, existing=existing, apply=apply, reason=reason
    )
    return carry_out(run, change, began=began)


def _read_value(name: str, verb: str) -> str:
    if sys.stdin.isatty():
        import getpass

        value = getpass.getpass(f"Value of {name} (not shown): ", stream=sys.stderr)
    else:
        try:
            value = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError:
            raise BadInput(f"the value of {name} on stdin is not UTF-8 text: encode it, as base64 for one") from None
        value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise BadInput(
            f"no value of {name} came on stdin; `{name}=` sets an empty one",
            next=(f"lekiwi env {verb} {name} < FILE",),
        )
    return value
