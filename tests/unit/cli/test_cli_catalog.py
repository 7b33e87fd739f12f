import click
import pytest

from lekiwi_deploy.cli.catalog import VERBS
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.cli.program import Program
from lekiwi_deploy.cli.run import Run


def commands() -> list[tuple[str, click.Command]]:
    """Every verb, those of groups too, by the words that call it."""
    program, found = Program(), []
    context = click.Context(program, info_name="lekiwi", obj=Run(Output()))
    for name in VERBS:
        command = program.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {below}", each) for below, each in command.commands.items()]
    return found


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_verb_can_be_called_says_what_it_does_and_knows_the_common_flags(
    name: str, command: click.Command
) -> None:
    assert command.name == name.split()[-1] or (name, command.name) == ("ls", "list")
    assert command.help
    if name in ("server", "git-credential"):
        return  # they hand everything on
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--json", "-q", "-v", "--no-color", "-C", "--api", "--profile"} <= options
    if isinstance(command, Verb):
        text = command.get_help(click.Context(command, info_name=name))
        assert "Global options" in text


def test_no_option_of_a_verb_shadows_a_common_one() -> None:
    for name, command in commands():
        options = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
        assert len(options) == len(set(options)), name
