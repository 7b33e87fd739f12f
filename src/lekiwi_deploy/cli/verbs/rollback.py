"""`lekiwi rollback`: back to what ran before, confirmed by the robots."""

from __future__ import annotations

import time

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.progress import RolloutStarted
from lekiwi_deploy.wire.rollback import RollbackAnswer, RollbackRequest


class RollbackResult(RollbackAnswer, frozen=True, kw_only=True):
    """What `--json` prints: the server's answer, and how it ended. `status` None: not waited for, or nothing to do."""

    status: str | None = None
    live: int = 0
    pending: int = 0
    failed: int = 0
    seconds: float | None = None


@click.command("rollback", cls=Verb, uses=("environment", "project", "robot"))
@click.argument("what", required=False, type=click.Choice(["status"]), metavar="[status]")
@click.option("--to", metavar="SELECTOR", help="Where to: dep_…, v2.2.9, commit:abc123, 2-hours-ago, @-2, previous.")
@click.option("--pick", "choose", is_flag=True, help="Choose from a list of what ran there.")
@click.option("--keep-env", is_flag=True, help="With today's variables, not those that went with it.")
@click.option("--gradual", is_flag=True, help="Through the environment's steps, not to all robots at once.")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--dry-run", is_flag=True, help="Only say which robots would move, what is sent and what restarts.")
@click.option("--force", is_flag=True, help="Also over what would block it; this is audited.")
@click.option("--no-wait", is_flag=True, help="Do not follow it.")
@click.option("--timeout", metavar="SPAN", help="Follow it no longer than that: 90s, 10m (0: not at all).")
@click.pass_obj
def rollback(
    run: Run,
    what: str | None,
    to: str | None,
    choose: bool,
    keep_env: bool,
    gradual: bool,
    reason: str,
    dry_run: bool,
    force: bool,
    no_wait: bool,
    timeout: str | None,
) -> int:
    """Go back to the last good deployment, or to what SELECTOR names: an id, a version, a commit, a time.

    A time means what was live then. Nothing is built and nothing downloaded that a robot still has. Variables go back with it. Pushes do not
    go live by themselves afterwards, until `lekiwi unfreeze`. With --robot only that robot goes back, and stays there until
    `lekiwi robots resume`. `lekiwi rollback status` shows how the last one fares.
    """
    began = time.monotonic()
    from lekiwi_deploy.cli.following import follow, timeout_s
    from lekiwi_deploy.cli.spans import span

    limit = timeout_s(timeout)
    if what is not None:
        from lekiwi_deploy.cli.rollback_status import show_status

        return show_status(run)
    if choose:
        to = _chosen(run, to)
        began = time.monotonic()
    request = RollbackRequest(
        environment=run.environment, to=to, robot=run.flags.robot, reason=reason, force=force, dry_run=dry_run, gradual=gradual,
        keep_env=keep_env, utc_offset_min=run.utc_offset_min,
    )  # fmt: skip
    out = run.out
    answer = run.api.rollback(run.project, request)
    out.say(answer.resolution.text)
    if answer.rollout is None or no_wait or limit == 0:
        _unwatched(run, answer, dry_run)
        out.object(msgspec.convert(answer, RollbackResult, from_attributes=True))
        return 0
    there = answer.resolution.deployment
    id = answer.deployment or there.id
    if answer.there:
        out.say(f"   {answer.there} of {plural(len(answer.robots), 'robot')} run that content already")
    started = RolloutStarted(answer.rollout, id, there.version, answer.environment, len(answer.robots))
    followed = follow(run, answer.rollout, began=began, timeout=limit, back=True, rollout=started)
    for line in followed.lines:
        out.line(*line)
    _afterwards(run, answer)
    end = followed.told.finished
    if end is not None:
        result = msgspec.convert(answer, RollbackResult, from_attributes=True)
        out.object(
            msgspec.structs.replace(
                result,
                status=end.status,
                live=end.live,
                pending=end.pending,
                failed=end.failed,
                seconds=round(time.monotonic() - began, 3),
            )
        )
        out.detail(f"the last robot confirmed {span(end.seconds)} after the server had decided")
    return followed.code


def _chosen(run: Run, to: str | None) -> str:
    from lekiwi_deploy.cli.environments import the_environment
    from lekiwi_deploy.cli.picking import pick

    if to is not None:
        raise BadInput("--pick asks where to: leave --to out")
    return pick(run, the_environment(run))


def _unwatched(run: Run, answer: RollbackAnswer, dry_run: bool) -> None:
    deployment = answer.resolution.deployment
    where = f"{answer.environment}: {plural(len(answer.robots), 'robot')}"
    if not answer.changed and not dry_run:
        run.out.line(f"{where} run {deployment.id} {deployment.version} already; nothing to do")
        return
    if dry_run:
        if answer.forecast is None:
            run.out.line(f"Would move {where} to {deployment.id} {deployment.version}")
            return
        from lekiwi_deploy.cli.foretelling import show

        show(run, answer.forecast)
        return
    run.out.line(f"⏳ {where} are going back to {deployment.id} {deployment.version}; not waiting for them")
    run.out.say(f"   follow it: lekiwi inspect {answer.rollout} --wait")
    _afterwards(run, answer)


def _afterwards(run: Run, answer: RollbackAnswer) -> None:
    if answer.frozen:
        thaw = f"lekiwi unfreeze -e {answer.environment}"
        run.out.say(Cell("   ❄  frozen: ", "cyan"), f"pushes to {answer.environment} do not go live until {thaw}")
    if answer.undo:
        run.out.say(Cell(f"   undo: {answer.undo}", "dim"))
