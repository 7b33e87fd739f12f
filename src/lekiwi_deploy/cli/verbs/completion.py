"""`lekiwi completion`"""

from __future__ import annotations

import click
import msgspec
from click.shell_completion import get_completion_class

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run

_HOW = {
    "bash": 'eval "$(lekiwi completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(lekiwi completion zsh)"   in ~/.zshrc',
    "fish": "lekiwi completion fish > ~/.config/fish/completions/lekiwi.fish",
}


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    shell: str
    script: str
    schema: str = "lekiwi.completion/1"


@click.command("completion", cls=Verb)
@click.argument("shell", type=click.Choice(tuple(_HOW)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    run: Run = context.obj
    kind = get_completion_class(shell)
    assert kind is not None
    # `source` would also ask the shell for its version; the script itself is all that is wanted
    complete = kind(context.find_root().command, {}, "lekiwi", "_LEKIWI_COMPLETE")
    script = complete.source_template % complete.source_vars()
    if run.out.json:
        run.out.object(Script(shell=shell, script=script))
    else:
        run.out.raw(script)
    run.out.detail(f"to use it: {_HOW[shell]}")
