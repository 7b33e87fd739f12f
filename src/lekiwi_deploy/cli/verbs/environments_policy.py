"""`lekiwi environments show|set|edit|diff`: the policy, in lekiwi.yaml's words."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs.groups import say_moved
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.api import Environment, Project
from lekiwi_deploy.wire.environments import EnvironmentPolicy, NextOpening, SetPolicy, Setting


@click.command("show", cls=Verb, uses=("project",))
@click.argument("name")
@click.pass_obj
def show(run: Run, name: str) -> None:
    """An environment: what is live, which robots, and its policy as lekiwi.yaml would have it; defaults are comments."""
    found = run.api.policy(run.project, name)
    run.out.object(found)
    if run.out.json:
        return
    project = run.api.project(run.project)
    one = next(each for each in project.environments if each.name == found.environment)
    frozen = one.freeze
    run.out.fields(
        [
            ("environment", Cell(one.name, "bold")),
            ("live", one.live or "nothing"),
            ("robots", _robots(found)),
            ("branch", _branch(project, one)),
            (
                "frozen",
                Cell(f"by {frozen.by} {ago(frozen.at, run.now())}{f': {frozen.why}' if frozen.why else ''}", "cyan")
                if frozen is not None
                else "",
            ),
            ("window", _window(found.opening) if found.opening is not None else ""),
        ]
    )
    run.out.line()
    for line in found.text.rstrip("\n").split("\n"):
        code, mark, comment = line.partition("# ")
        run.out.line(code, Cell(mark + comment, "dim"))
    if found.differs:
        keys = ", ".join(each.key for each in found.differs)
        run.out.say()
        run.out.say(Cell(f"   lekiwi.yaml says something else of {keys}: lekiwi environments diff {name}", "yellow"))


def _branch(project: Project, one: Environment) -> str:
    by_name = "main and master" if one.name == "production" else one.name
    return branches_of(project, one) or f"{by_name}, by its name"


def branches_of(project: Project, one: Environment) -> str:
    """Which branches go to an environment, as far as anybody said."""
    if one.preview is not None:
        return f"{one.preview} (a preview)"
    mapped = [pattern for pattern, target in project.branches if target in (one.name, *one.policy.groups)]
    return ", ".join(dict.fromkeys([*([one.branch] if one.branch else []), *mapped]))


def _robots(found: EnvironmentPolicy) -> str:
    names = found.robots
    if not names:
        return "none"
    return f"{len(names)}: {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _window(opening: NextOpening) -> Cell:
    if opening.open:
        until = f" until {opening.open_until.astimezone():%d %b %H:%M}" if opening.open_until is not None else ""
        return Cell(f"open{until} ({opening.zone})", "green")
    when = f"opens {opening.opens.astimezone():%d %b %H:%M}" if opening.opens is not None else "does not open in a year"
    return Cell(f"closed; {when} ({opening.zone})", "yellow")


@click.command("set", cls=Verb, uses=("project",))
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="KEY=VALUE…")
@click.option("--unset", multiple=True, metavar="KEY", help="Let its default hold again.")
@click.option("--file", "file", metavar="FILE", help="All of it, from a block or a lekiwi.yaml (`-`: stdin).")
@click.option("--follow-file", is_flag=True, help="All of it, as lekiwi.yaml of the default branch says.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def set_(
    run: Run,
    name: str,
    settings: tuple[str, ...],
    unset: tuple[str, ...],
    file: str | None,
    follow_file: bool,
    reason: str,
) -> None:
    """Set keys of an environment's policy, as lekiwi.yaml has them. They hold until lekiwi.yaml says something new.

    \b
    lekiwi environments set production auto_deploy=false health_checks=strict
    lekiwi environments set production rollout='[{robots: 1, soak: 2m}]' --reason "careful"
    lekiwi environments set staging select="site=lab, hw!=v1"
    """
    given: dict[str, str] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise BadInput(
                f"{text[:60]!r}: give KEY=VALUE, as lekiwi.yaml has them",
                next=(f"lekiwi environments set {name} auto_deploy=false", f"lekiwi environments show {name}"),
            )
        if key.strip() in given:
            raise BadInput(f"{key.strip()} is given twice")
        given[key.strip()] = value
    ways = sum((bool(given or unset), file is not None, follow_file))
    if ways != 1:
        raise BadInput(
            "say what to set: keys, or --file, or --follow-file" + ("" if ways == 0 else ", one of them"),
            next=(f"lekiwi environments set {name} auto_deploy=false", f"lekiwi environments edit {name}"),
        )
    if file is not None:
        change = SetPolicy(text=_content(file), file="stdin" if file == "-" else Path(file).name, reason=reason)
    else:
        change = SetPolicy(set=given, unset=unset, follow_file=follow_file, reason=reason)
    _apply(run, name, run.api.policy(run.project, name), change)


@click.command("edit", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def edit(run: Run, name: str, reason: str) -> None:
    """Edit an environment's policy in $EDITOR."""
    before = run.api.policy(run.project, name)
    text = click.edit(before.text, extension=".yaml")
    if text is None or text == before.text:
        run.out.object(before)
        run.out.line(f"{name} of {run.project} stays as it is")
        return
    _apply(run, name, before, SetPolicy(text=text, file="your text", reason=reason))


@click.command("diff", cls=Verb, uses=("project",))
@click.argument("name")
@click.pass_obj
def diff(run: Run, name: str) -> None:
    """Where the policy that holds differs from lekiwi.yaml of the default branch."""
    found = run.api.policy_diff(run.project, name)
    run.out.object(found)
    if not found.seeded:
        run.out.line(f"lekiwi.yaml of the default branch says nothing of {name}")
    elif not found.differs:
        run.out.line(f"{name} is as lekiwi.yaml says")
    else:
        run.out.table(
            (Column("KEY"), Column("HERE"), Column("LEKIWI.YAML")), [(d.key, d.here, d.file) for d in found.differs]
        )
        run.out.say(Cell("   What is here holds until lekiwi.yaml says something new of it. To follow it now:", "dim"))
        run.out.say(Cell(f"   → lekiwi environments set {name} --follow-file", "dim"))


def _content(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(f"{file} cannot be read: {why}") from error


def _apply(run: Run, name: str, before: EnvironmentPolicy, change: SetPolicy) -> None:
    now = run.api.set_policy(run.project, name, change)
    run.out.object(now)
    if now.change is None:
        run.out.line(f"{name} of {run.project} is so already: nothing changed")
        return
    was = {one.key: one for one in before.settings}
    for one in now.settings:
        old = was.get(one.key)
        if old is None or (old.value, old.default) != (one.value, one.default):
            run.out.line(f"{name}: {one.key}  {_said(old)} → ", Cell(_said(one), "bold"))
    say_moved(run, now.moved)
    if change.text is None and not change.follow_file:
        run.out.say(Cell(f"   undo: {_undo(name, before, change)}", "dim"))
    else:
        run.out.say(Cell("   undo: lekiwi undo", "dim"))


def _said(setting: Setting | None) -> str:
    if setting is None:
        return "nothing"
    return setting.means if setting.default else setting.value


def _undo(name: str, before: EnvironmentPolicy, change: SetPolicy) -> str:
    touched = {*change.set, *change.unset}
    words = ["lekiwi", "environments", "set", name]
    words += [f"{one.key}={one.value}" for one in before.settings if one.key in touched and not one.default]
    for one in before.settings:
        if one.key in touched and one.default:
            words += ["--unset", one.key]
    return shlex.join(words)
