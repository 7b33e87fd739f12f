"""`lekiwi groups …`"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.environments import SetGroup
from lekiwi_deploy.wire.ids import EnvironmentName, RobotId
from lekiwi_deploy.wire.reasons import Unplaced

COLUMNS = (Column("GROUP"), Column("ROBOTS"), Column("ENVIRONMENT", 1), Column("LABELS"), Column("BY", 2))
_SHOWN = 8

groups = VerbGroup("groups", help="Sets of robots by their labels: list, show, set, rm.")


@groups.command("list", cls=Verb, uses=("project",))
@click.pass_obj
def list_(run: Run) -> None:
    """Groups: defined ones, and those that environments or robots name."""
    found = run.api.groups(run.project)
    run.out.object(found)
    if not found.groups:
        run.out.say("No groups yet.")
        run.out.say(Cell('   → lekiwi groups set staging-robots "site=lab, hw!=v1"', "dim"))
        return
    run.out.table(
        COLUMNS,
        [
            (
                group.name,
                str(len(group.robots)),
                ", ".join(group.environments),
                group.selector if group.defined else Cell(group.selector, "dim"),
                group.by,
            )
            for group in found.groups
        ],
    )


@groups.command("show", cls=Verb, uses=("project",))
@click.argument("name")
@click.pass_obj
def show(run: Run, name: str) -> None:
    """One group: what it means, and which robots fit it."""
    group = run.api.group(run.project, name)
    run.out.object(group)
    run.out.fields(
        [
            ("group", Cell(group.name, "bold")),
            ("labels", group.selector),
            ("defined", f"by {group.by}, {ago(group.at, run.now())}" if group.defined else "by nobody: its own label"),
            ("environment", ", ".join(group.environments) or "none has its robots"),
            ("robots", ", ".join(group.robots) or "none fits"),
        ]
    )


@groups.command("set", cls=Verb, uses=("project",))
@click.argument("name")
@click.argument("selector", metavar="LABELS")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def set_(run: Run, name: str, selector: str, reason: str) -> None:
    """Say which robots a group has: `site=lab, hw!=v1`. Robots move to where they belong then."""
    known = {group.name: group for group in run.api.groups(run.project).groups}
    group = run.api.set_group(run.project, name, SetGroup(selector=selector, reason=reason))
    run.out.object(group)
    run.out.line(f"{group.name}: {group.selector}  ({plural(len(group.robots), 'robot')})")
    say_moved(run, group.moved)
    before = known.get(name)
    if before is not None and before.defined:
        if before.selector != selector:
            run.out.say(Cell(f"   undo: lekiwi groups set {name} {_quoted(before.selector)}", "dim"))
    else:
        yes = " --yes" if group.environments else ""
        run.out.say(Cell(f"   undo: lekiwi groups rm {name}{yes}", "dim"))
    if not group.environments:
        run.out.say(Cell(f"   → lekiwi environments create NAME --group {name}", "dim"))


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What `groups rm --json` prints."""

    group: str
    schema: str = "lekiwi.group-removed/1"


@groups.command("rm", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(run: Run, name: str, reason: str, yes: bool) -> None:
    """End a group's definition: it is the robots with the label group=NAME again. Asks where an environment has its robots."""
    before = run.api.group(run.project, name)
    if before.defined and before.environments and not yes:
        what = f"{' and '.join(before.environments)} will have the robots with the label group={name} instead"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(
                f"{what}, and there is no terminal to confirm it on",
                next=(f"lekiwi groups rm {name} --yes",),
                details={"reason": "no_terminal"},
            )
        click.confirm(f"Remove {name}? {what}", abort=True, err=True)
    run.api.remove_group(run.project, name, reason)
    run.out.object(Removed(group=name))
    run.out.line(f"the group {name} is no longer defined")
    say_unplaced(run)
    run.out.say(Cell(f"   undo: lekiwi groups set {name} {_quoted(before.selector)}", "dim"))


def say_moved(run: Run, moved: Mapping[RobotId, tuple[EnvironmentName, EnvironmentName]]) -> None:
    """Which robots a change moved, and where to."""
    ways: dict[tuple[EnvironmentName, EnvironmentName], list[str]] = {}
    for robot, way in sorted(moved.items()):
        ways.setdefault(way, []).append(robot)
    for (one, other), names in ways.items():
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        run.out.say(f"   {plural(len(names), 'robot')} moved from {one} to {other}: {', '.join(names[:_SHOWN])}{more}")
    say_unplaced(run)


def say_unplaced(run: Run) -> None:
    """Which robots of the project have no place now."""
    if run.out.json:
        return
    lost = [one.name for one in run.api.robots(project=run.project).robots if isinstance(one.out, Unplaced)]
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        run.out.warn(f"{', '.join(lost[:_SHOWN])}{more}: their labels fit no environment; they keep what they run")


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
