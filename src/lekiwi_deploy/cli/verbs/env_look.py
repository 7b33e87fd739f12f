"""`lekiwi env list`, `env history`, `env diff`"""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.variables import COLUMNS, row, shown_value, state_of
from lekiwi_deploy.wire.variables import Variable, VariableDifference

_HISTORY = (
    Column("REV"), Column("NAME"), Column("VALUE"), Column("OF"), Column("SET"), Column("BY", 1), Column("STATE", 2),
)  # fmt: skip
_DIFF = (Column(""), Column("NAME"), Column("A"), Column("B"), Column("OF"))


@click.command("list", cls=Verb, uses=("environment", "project", "robot", "tags"))
@click.option("--branch", metavar="BRANCH", help="Only those of deployments of this branch.")
@click.option("--resolved", is_flag=True, help="Of each name only what is given there (with -r or -e), and from where.")
@click.pass_obj
def list_(run: Run, branch: str | None, resolved: bool) -> None:
    """Variables: values of config, fingerprints of secrets, whether they are live, and how many robots still run without them."""
    tag = ", ".join(run.flags.tags) or None
    found = run.api.variables(
        run.project,
        {
            "environment": run.flags.environment or (run.environment if resolved and not run.flags.robot else None),
            "branch": branch,
            "tag": tag,
            "robot": run.flags.robot,
            "resolved": "true" if resolved else None,
        },
    )
    run.out.object(found)
    if not found.variables:
        run.out.say("No variables yet." if not found.revision else "No variables match.")
        run.out.say(Cell("   → lekiwi env add NAME=value", "dim"))
        return
    run.out.table(COLUMNS, [row(one, run.now()) for one in found.variables])
    if resolved and found.environment:
        run.out.say(Cell(f"   as {run.flags.robot or found.environment} gets them with the next deploy", "dim"))
    _who_is_behind(run, found.variables)


@click.command("history", cls=Verb, uses=("project",))
@click.argument("name", required=False)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many, newest first."
)
@click.pass_obj
def history(run: Run, name: str | None, limit: int) -> None:
    """Every version of all variables or of NAME, newest first, and which robots still run without the newest."""
    found = run.api.variables_history(run.project, name=name, limit=limit)
    run.out.object(found)
    if not found.variables:
        run.out.say(f"{name} was never set." if name else "No variables yet.")
        return
    now = run.now()
    newest: set[tuple[str, str, str]] = set()
    rows = []
    for one in found.variables:
        key = (one.scope, one.of, one.name)
        state = state_of(one) if key not in newest else Cell("replaced", "dim")
        newest.add(key)
        of = f"{one.scope} {one.of}".strip()
        rows.append((str(one.revision), one.name, shown_value(one), of, ago(one.at, now), one.by, state))
    run.out.table(_HISTORY, rows)
    if found.more:
        run.out.say(Cell("   older versions are left out: -n 500", "dim"))
    _who_is_behind(run, found.variables)


@click.command("diff", cls=Verb, uses=("environment", "project"))
@click.argument("a", required=False, metavar="[A]")
@click.argument("b", required=False, metavar="[B]")
@click.pass_obj
def diff(run: Run, a: str | None, b: str | None) -> None:
    """What differs from A to B: names and fingerprints, never values. Each is a revision (12), an environment, a deployment, `live` or `now`.

    Alone: what the next deploy of the environment changes. With A only: from A to now.
    """
    found = run.api.variables_diff(run.project, a or "live", b or "now", environment=run.environment)
    run.out.object(found)
    run.out.say(Cell(f"{found.a} → {found.b}", "bold"))
    if not found.variables:
        run.out.say(f"The same: {found.same} variables." if found.same else "The same: no variables.")
        return
    run.out.table(_DIFF, [_difference(one) for one in found.variables])
    run.out.say(Cell(f"   {found.same} the same", "dim"))


def _difference(one: VariableDifference) -> tuple[str | Cell, ...]:
    if one.before is None:
        return (Cell("+", "green"), one.name, "", one.after or "", one.after_of)
    if one.after is None:
        return (Cell("-", "red"), one.name, one.before, "", one.before_of)
    of = one.before_of if one.before_of == one.after_of else f"{one.before_of} → {one.after_of}"
    return (Cell("~", "yellow"), one.name, one.before, one.after, of)


def _who_is_behind(run: Run, variables: tuple[Variable, ...]) -> None:
    for one in variables:
        if one.behind:
            names = ", ".join(one.behind_robots)
            more = f" and {one.behind - len(one.behind_robots)} more" if one.behind > len(one.behind_robots) else ""
            run.out.say(Cell(f"   without {one.name} revision {one.revision}: {names}{more}", "dim"))
