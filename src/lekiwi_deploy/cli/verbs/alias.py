"""`lekiwi alias …`: labels of deployments, and pointing an environment at one."""

from __future__ import annotations

import click

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.wire.changes import Move, SetAlias


class _NameFirst(VerbGroup):
    """`alias NAME DEPLOYMENT` is `alias set NAME DEPLOYMENT`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or (None if cmd_name.startswith("-") else self.commands["set"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return "set", self.commands["set"], args
        return super().resolve_command(ctx, args)


alias = _NameFirst(
    "alias",
    help="Call a deployment something: `lekiwi alias stable dep_…`; every selector then understands it (--to=stable). An environment's "
    "name moves that environment, under its policy, as `lekiwi promote` does.",
    subcommand_metavar="NAME DEPLOYMENT | COMMAND [ARGS]...",
)


@alias.command("set", cls=Verb, uses=("environment", "project"))
@click.argument("name")
@click.argument("deployment")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--force", is_flag=True, help="Of an environment: also over what would block it; this is audited.")
@click.option("--no-wait", is_flag=True, help="Of an environment: do not follow it.")
@click.option("--timeout", metavar="SPAN", help="Of an environment: follow it no longer than that.")
@click.pass_obj
def set_(run: Run, name: str, deployment: str, reason: str, force: bool, no_wait: bool, timeout: str | None) -> int:
    """Have NAME mean DEPLOYMENT (an id, a version, a commit, another alias, an environment). NAME may be an environment: it then runs that."""
    environments = {environment.name for environment in run.api.project(run.project).environments}
    if name in environments:
        from lekiwi_deploy.cli.verbs.promote import carry_out

        move = Move(
            source=deployment,
            target=name,
            kind="alias",
            reason=reason,
            force=force,
            utc_offset_min=run.utc_offset_min,
        )
        return carry_out(run, move, only_diff=False, no_wait=no_wait, timeout=timeout)
    before = next((one for one in run.api.aliases(run.project).aliases if one.name == name), None)
    asked = SetAlias(
        deployment=deployment, reason=reason, environment=run.environment, utc_offset_min=run.utc_offset_min
    )
    made = run.api.set_alias(run.project, name, asked)
    run.out.object(made)
    same = before is not None and before.deployment == made.deployment
    run.out.line(
        Cell(made.name, "bold"),
        f" {'is' if same else 'means'} {made.deployment} {made.version}{' already' if same else ' now'}",
    )
    if before is not None and not same:
        run.out.say(Cell(f"   undo: lekiwi alias {name} {before.deployment}", "dim"))
    elif not same:
        run.out.say(Cell(f"   use it: lekiwi rollback --to={name}   undo: lekiwi alias rm {name}", "dim"))
    return 0


@alias.command("list", cls=Verb, uses=("project",))
@click.pass_obj
def list_(run: Run) -> None:
    """All labels of the project."""
    found = run.api.aliases(run.project)
    run.out.object(found)
    if not found.aliases:
        run.out.say("No aliases.")
        run.out.say(Cell("   → ", "dim"), Cell("lekiwi alias stable dep_…", "cyan"))
        return
    now = run.now()
    columns = (Column("ALIAS"), Column("DEPLOYMENT"), Column("VERSION"), Column("SET", 1), Column("BY", 2))
    run.out.table(columns, [(one.name, one.deployment, one.version, ago(one.at, now), one.by) for one in found.aliases])


@alias.command("rm", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--reason", default="", help="Why; kept with it.")
@click.pass_obj
def rm(run: Run, name: str, reason: str) -> None:
    """Forget a label; the deployment that it named is untouched."""
    was = run.api.remove_alias(run.project, name, reason)
    run.out.object(was)
    run.out.line(f"{was.name} means nothing any more; it was {was.deployment} {was.version}")
    run.out.say(Cell(f"   undo: lekiwi alias {was.name} {was.deployment}", "dim"))
