"""Variables on the command line: whose are meant, what a change did, how they are shown."""

from __future__ import annotations

import shlex
import time
from datetime import datetime

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell, Column, Row
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.ids import DeploymentId, RolloutId
from lekiwi_deploy.wire.variables import ChangeVariables, Scope, Variable, VariablesChanged

COLUMNS = (
    Column("NAME"),
    Column("VALUE"),
    Column("OF"),
    Column("STATE"),
    Column("REV", 1),
    Column("SET", 2),
    Column("BY", 3),
)
_SHOWN = 60


def scope_of(run: Run, branch: str | None) -> tuple[Scope, str]:
    """Whose variables the flags mean; none: the project's. Raises `BadInput` when they mean several."""
    flags = run.flags
    given = [
        (Scope.ENVIRONMENT, flags.environment, "-e"),
        (Scope.BRANCH, branch, "--branch"),
        (Scope.TAG, ", ".join(flags.tags), "--tag"),
        (Scope.ROBOT, flags.robot, "-r"),
    ]
    said = [(scope, of, flag) for scope, of, flag in given if of]
    if len(said) > 1:
        raise BadInput(
            f"a variable is of one scope: {' and '.join(flag for _, _, flag in said)} cannot be combined here"
        )
    return (said[0][0], said[0][1] or "") if said else (Scope.PROJECT, "")


def flags_of(scope: Scope, of: str) -> str:
    """The flags that mean this scope, to be pasted after a verb."""
    flag = {Scope.ENVIRONMENT: "-e", Scope.BRANCH: "--branch", Scope.TAG: "--tag", Scope.ROBOT: "-r"}.get(scope)
    return f" {flag} {shlex.quote(of)}" if flag else ""


def whose(scope: Scope, of: str) -> str:
    """`environment staging`, `robots with hw=v2`, `all environments but previews`."""
    match scope:
        case Scope.PROJECT:
            return "all environments but previews"
        case Scope.ENVIRONMENT:
            return f"environment {of}" if "," not in of else f"environments {of.replace(',', ', ')}"
        case Scope.BRANCH:
            return f"branch {of}"
        case Scope.TAG:
            return f"robots with {of}"
        case Scope.ROBOT:
            return f"robot {of}"


def shown_value(one: Variable) -> Cell:
    """The value of config; for a secret its fingerprint."""
    if one.removed:
        return Cell("removed", "dim")
    if one.lost:
        return Cell("lost with its key: set it again", "red")
    if one.secret or one.value is None:
        return Cell(f"secret {one.fingerprint[:6]}", "dim")
    line = one.value.replace("\n", "⏎")
    return Cell(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")


def state_of(one: Variable) -> Cell:
    """Whether it is in force, and who is still without it."""
    behind = f", {plural(one.behind, 'robot')} without it" if one.behind else ""
    if not one.declared and not one.behind:
        return Cell("no service declares it", "dim")
    if one.live:
        return Cell(f"live{behind}", "yellow" if behind else "green")
    return Cell(f"next deploy{behind}", "yellow")


def row(one: Variable, now: datetime) -> Row:
    """A line of `lekiwi env list`."""
    of = f"{one.scope} {one.of}".strip()
    return (one.name, shown_value(one), of, state_of(one), str(one.revision), ago(one.at, now), one.by)


def carry_out(run: Run, asked: ChangeVariables, *, began: float) -> int:
    """Sends a change, says what it came to and what is left to do; with `apply` follows what it started. The exit code."""
    told = run.api.change_variables(run.project, asked)
    run.out.object(told)
    of = whose(asked.scope, asked.of)
    for sign, names, verb in (
        ("+", told.added, "added"),
        ("~", told.updated, "updated"),
        ("-", told.removed, "removed"),
    ):
        for name in names:
            kind = "" if verb == "removed" else " (secret)" if name in told.secrets else " (config)"
            run.out.line(f"{sign} {name}{kind} {'would be ' if told.dry_run else ''}{verb}: {of}")
    if told.unchanged:
        run.out.line(f"= {', '.join(told.unchanged)} unchanged: {of}")
    if told.nobody and asked.scope is not Scope.PROJECT and (told.added or told.updated):
        run.out.warn(f"nothing that is deployed, and no robot, is of {of} now: nobody gets it yet")
    if not told.changed:
        if not told.unchanged:
            run.out.line(f"nothing to change: {of}")
        return 0
    _warn_undeclared(run, told)
    if told.dry_run:
        run.out.say(Cell("   Nothing was changed.", "dim"))
        return 0
    code = _applied(run, told, began) if asked.apply else 0
    if not asked.apply:
        _not_live(run, told)
    run.out.say(Cell(f"   revision {told.revision}   undo: {told.undo}", "dim"))
    return code


def _warn_undeclared(run: Run, told: VariablesChanged) -> None:
    if not told.undeclared:
        return
    names, one = ", ".join(told.undeclared), len(told.undeclared) == 1
    service = told.services[0] if told.services else "NAME"
    run.out.warn(
        f"no service declares {names}, so none gets {'it' if one else 'them'}. Add to lekiwi.yaml, at each that reads {'it' if one else 'them'}:"
    )
    run.out.say(f"services: {{{service}: {{…, env: [{names}]}}}}")


def _not_live(run: Run, told: VariablesChanged) -> None:
    if told.environments:
        commands = ", ".join(f"lekiwi redeploy -e {name}" for name in told.environments)
        run.out.say(f"   Not live until the next deploy: {commands}   (--apply does that at once)")
        return
    run.out.say("   Not live until the next deploy of services that declare it: lekiwi deploy")


def _applied(run: Run, told: VariablesChanged, began: float) -> int:
    """Follows the rollouts one after the other; the worst exit code."""
    from lekiwi_deploy.cli.following import follow

    if not told.deployments:
        run.out.say("   Nothing that is live declares it: there is nothing to deploy again.")
    for environment, why in told.waiting.items():
        run.out.say(f"   {environment} {why}")
    worst = 0
    for environment, rollout in told.rollouts.items():
        run.out.say(f"   {told.deployments[environment]} → {environment}")
        followed = follow(
            run, RolloutId(rollout), began=began, timeout=None, cancel=DeploymentId(told.deployments[environment])
        )
        for line in followed.lines:
            run.out.line(*line)
        worst = max(worst, followed.code)
    return worst


def began_now() -> float:
    """When the person pressed Enter, on the clock that `following` measures with."""
    return time.monotonic()
