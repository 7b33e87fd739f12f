"""The flags that every verb has, before it or after it, and those that it has when they mean something to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

_COMMON: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--json", "json"), {"is_flag": True, "help": "One JSON object on stdout (one a line for streams)."}),
    (("-q", "--quiet", "quiet"), {"is_flag": True, "help": "Only data, warnings and errors."}),
    (("-v", "--verbose", "verbose"), {"count": True, "help": "Say more: output of builds, requests, traces."}),
    (("--no-color", "no_color"), {"is_flag": True, "help": "No colour (as with NO_COLOR set)."}),
    (("-C", "directory"), {"metavar": "DIR", "help": "Work in that folder."}),
    (("--api", "api"), {"metavar": "URL", "help": "The server (else LEKIWI_API, the link, the login)."}),
    (("--profile", "profile"), {"metavar": "NAME", "help": "Another login than the default one."}),
    (
        ("--token-file", "token_file"),
        {"metavar": "FILE", "help": "Read the token there (else LEKIWI_TOKEN, the login)."},
    ),
    (("--insecure-http", "insecure_http"), {"is_flag": True, "help": "Allow plain HTTP across a network."}),
)
_SCOPES: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "environment": (("-e", "--env", "environment"), {"metavar": "ENV", "help": "The environment."}),
    "project": (("-p", "--project", "project"), {"metavar": "NAME", "help": "The project (else the linked one)."}),
    "robot": (("-r", "--robot", "robot"), {"metavar": "NAME", "help": "Only this robot."}),
    "tags": (("--tag", "tags"), {"metavar": "K=V", "multiple": True, "help": "Only robots with this label."}),
}


@dataclass
class Flags:
    """As given on the command line; filled while it is parsed, read afterwards."""

    environment: str | None = None
    project: str | None = None
    robot: str | None = None
    tags: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    directory: str | None = None
    api: str | None = None
    profile: str | None = None
    token_file: str | None = None
    insecure_http: bool = False
    reason: str = ""


def _keep_reason(context: click.Context, _option: click.Parameter, value: str) -> None:
    context.obj.flags.reason = value


because = click.option("--reason", default="", help="Why; kept with it.", expose_value=False, callback=_keep_reason)
"""For verbs whose route has no field for a reason: it is sent with each request."""


class GlobalOption(click.Option):
    """Stored in the invocation's `Flags` rather than passed to the verb."""

    def __init__(self, declarations: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.flag = declarations[-1]
        names = (*declarations[:-1], f"global_{self.flag}")
        super().__init__(names, expose_value=False, callback=_store, **settings)


def _store(context: click.Context, option: click.Parameter, value: Any) -> Any:
    assert isinstance(option, GlobalOption)
    if value:
        flags: Flags = context.obj.flags
        before = getattr(flags, option.flag)
        setattr(flags, option.flag, before + value if option.flag in ("tags", "verbose") else value)
    return value


class Verb(click.Command):
    """A command that also takes the common flags, and of the others those in `uses`; it refuses the rest."""

    def __init__(self, *args: Any, uses: tuple[str, ...] = (), **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.uses = uses
        self.params += [GlobalOption(*_SCOPES[scope]) for scope in uses]
        self.params += [GlobalOption(*option) for option in _COMMON]

    def invoke(self, context: click.Context) -> Any:
        for scope, (declarations, _) in _SCOPES.items():
            if scope not in self.uses and getattr(context.obj.flags, scope):
                raise click.UsageError(f"`{context.command_path}` takes no {declarations[-2]}.", context)
        context.obj.prepare()
        return super().invoke(context)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, context, formatter)


def write_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """Help with a command's own options first, then the global ones."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            (shared if isinstance(parameter, GlobalOption) else own).append(record)
    for title, records in (("Options", own), ("Global options", shared)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def all_options(*, hidden: bool = False) -> list[click.Parameter]:
    """For the program itself, and groups of verbs: any flag may stand before the verb."""
    return [GlobalOption(names, {**settings, "hidden": hidden}) for names, settings in (*_SCOPES.values(), *_COMMON)]


class VerbGroup(click.Group):
    """A noun with verbs of its own; alone it lists."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"invoke_without_command": True, "callback": _list_alone, **settings})
        self.params += all_options(hidden=True)


@click.pass_context
def _list_alone(context: click.Context) -> Any:
    if context.invoked_subcommand is not None:
        return None
    group = context.command
    assert isinstance(group, click.Group)
    with group.commands["list"].make_context("list", [], parent=context) as inner:
        return group.commands["list"].invoke(inner)
