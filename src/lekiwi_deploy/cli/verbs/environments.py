"""`lekiwi environments …`"""

from __future__ import annotations

import sys

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.cli.verbs.environments_policy import branches_of, diff, edit, set_, show
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.api import Environment
from lekiwi_deploy.wire.environments import NewEnvironment

COLUMNS = (
    Column("ENV"),
    Column("LIVE"),
    Column("ROBOTS"),
    Column("BRANCH", 1),
    Column("CHECKS", 3),
    Column("A PUSH", 2),
    Column("HAS", 4),
)

environments = VerbGroup(
    "environments", help="Where deployments go, and under which policy: list, show, create, set, edit, diff, rm."
)
for _command in (show, set_, edit, diff):
    environments.add_command(_command)


class Environments(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    project: str
    environments: tuple[Environment, ...]
    schema: str = "lekiwi.environments/1"


@environments.command("list", cls=Verb, uses=("project",))
@click.pass_obj
def list_(run: Run) -> None:
    """Environments: what is live, which robots, which branch, and what becomes of a push."""
    project = run.api.project(run.project)
    run.out.object(Environments(project=project.name, environments=project.environments))
    if not project.environments:
        run.out.say(f"{project.name} has no environment yet: the first robot or push makes one, or lekiwi.yaml.")
        run.out.say(Cell("   → lekiwi environments create staging --branch staging", "dim"))
        return
    run.out.table(
        COLUMNS,
        [
            (
                one.name,
                one.live or Cell("nothing", "dim"),
                f"{one.healthy}/{one.robots} healthy" if one.robots else Cell("none", "dim"),
                branches_of(project, one) or Cell("by its name", "dim"),
                one.health_checks,
                _push(one),
                _has(one),
            )
            for one in project.environments
        ],
    )
    for one in project.environments:
        if one.freeze is not None:
            why = f": {one.freeze.why}" if one.freeze.why else ""
            run.out.line(f"❄  {one.name} is frozen by {one.freeze.by} {ago(one.freeze.at, run.now())}{why}")


def _push(one: Environment) -> str | Cell:
    approvals = one.policy.approvals
    needed = approvals.count if approvals is not None else 0 if one.auto_deploy else 1
    if one.freeze is not None:
        return Cell("frozen", "cyan")
    if needed:
        return f"waits for {needed} approval{'s' if needed > 1 else ''}"
    if not one.auto_deploy:
        return "waits for lekiwi approve"
    steps = len(one.policy.steps)
    return f"goes live in {steps} steps" if steps else "goes live"


def _has(one: Environment) -> str | Cell:
    policy = one.policy
    parts = [f"group {name}" for name in policy.groups]
    if policy.select is not None:
        parts.append(policy.select)
    return ", or ".join(parts) or Cell("what people put there" if one.preview is None else "what is lent to it", "dim")


@environments.command("create", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--branch", metavar="B", help="The branch that is deployed to it.")
@click.option("--group", "groups", metavar="G", multiple=True, help="It has the robots of this group.")
@click.option("--select", metavar="LABELS", help="It has the robots with these labels.")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.pass_obj
def create(run: Run, name: str, branch: str | None, groups: tuple[str, ...], select: str | None, reason: str) -> None:
    """Make an environment. Without --group and --select it has the robots that people put there."""
    wanted = NewEnvironment(name=name, branch=branch, groups=groups, select=select, reason=reason)
    made = run.api.create_environment(run.project, wanted)
    run.out.object(made)
    has = _has(made)
    run.out.line(
        f"{made.name} of {made.project} is there: {made.robots} robot{'' if made.robots == 1 else 's'} "
        f"({has.text if isinstance(has, Cell) else has})" + (f", branch {made.branch}" if made.branch else "")
    )
    run.out.say(Cell(f"   undo: lekiwi environments rm {made.name}", "dim"))
    run.out.say(Cell(f"   next: lekiwi environments set {made.name} auto_deploy=false", "dim"))


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What `environments rm --json` prints."""

    environment: str
    schema: str = "lekiwi.environment-removed/1"


@environments.command("rm", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--reason", default="", help="Why; kept in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rm(run: Run, name: str, reason: str, yes: bool) -> None:
    """Remove an environment that has no robots, with the history of what was live in it."""
    run.api.policy(run.project, name)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(
                f"removing {name} forgets what was live in it, and there is no terminal to confirm it on",
                next=(f"lekiwi environments rm {name} --yes",),
                details={"reason": "no_terminal"},
            )
        click.confirm(f"Remove {name}? What was live in it is forgotten", abort=True, err=True)
    run.api.remove_environment(run.project, name, reason)
    run.out.object(Removed(environment=name))
    run.out.line(f"{name} of {run.project} is removed")
    run.out.say(Cell("   undo: lekiwi undo   # the environment and its policy, not what was live in it", "dim"))
