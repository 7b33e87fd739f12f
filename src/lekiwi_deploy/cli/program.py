"""The program as click sees it: the verbs of the catalog, imported when one is called."""

from __future__ import annotations

import difflib
from importlib import import_module

import click

from lekiwi_deploy.cli.catalog import VERBS
from lekiwi_deploy.cli.flags import all_options, write_options

_EPILOG = "`lekiwi` alone is `lekiwi status`. `lekiwi VERB --help` says more about one."


class Program(click.Group):
    """`lekiwi`."""

    def __init__(self) -> None:
        super().__init__(
            "lekiwi",
            help="Push to deploy for robots, and back with one command.",
            invoke_without_command=True,
            callback=_status_alone,
            params=all_options(),
            context_settings={"help_option_names": ["-h", "--help"]},
            epilog=_EPILOG,
        )
        self.params.append(
            click.Option(
                ["--version", "show_version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_version,
                help="Print the version.",
            )
        )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, entry in VERBS.items() if not entry.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = VERBS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"lekiwi_deploy.cli.verbs.{entry.module}"), entry.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=2)
            hint = f" Did you mean {' or '.join(f'`lekiwi {name}`' for name in near)}?" if near else ""
            raise click.UsageError(f"There is no verb {args[0][:40]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in VERBS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, e.help) for name, e in VERBS.items() if e.section == section and not e.hidden]
                )
        write_options(self, ctx, formatter)


@click.pass_context
def _status_alone(context: click.Context) -> object:
    if context.invoked_subcommand is not None:
        return None
    program = context.command
    assert isinstance(program, Program)
    status = program.get_command(context, "status")
    assert status is not None
    with status.make_context("status", [], parent=context) as inner:
        return status.invoke(inner)


def _show_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from lekiwi_deploy import __version__

        context.obj.out.raw(f"lekiwi {__version__}\n")
        context.exit()
