"""`lekiwi promote`: what runs in one environment goes to another one, byte for byte."""

from __future__ import annotations

import time

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import EXIT_CODE
from lekiwi_deploy.wire.changes import Move, Moved


class PromoteResult(Moved, frozen=True, kw_only=True):
    """What `--json` prints: the server's answer, and how it ended. `status` None: not waited for, or nothing to do."""

    status: str | None = None
    live: int = 0
    pending: int = 0
    failed: int = 0


@click.command("promote", cls=Verb, uses=("project",))
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="ENVIRONMENT")
@click.option("--diff", "only_diff", is_flag=True, help="Only show what differs.")
@click.option("--dry-run", is_flag=True, help="Also say who would get it, when, and what would hold it back.")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--keep-env", is_flag=True, help="With today's variables, though it ran there before with others.")
@click.option(
    "--force", is_flag=True, help="Also where it failed before, or has nothing for some robots; this is audited."
)
@click.option("--no-wait", is_flag=True, help="Do not follow it.")
@click.option("--timeout", metavar="SPAN", help="Follow it no longer than that: 90s, 10m (0: not at all).")
@click.pass_obj
def promote(
    run: Run,
    source: str,
    target: str,
    only_diff: bool,
    dry_run: bool,
    reason: str,
    keep_env: bool,
    force: bool,
    no_wait: bool,
    timeout: str | None,
) -> int:
    """Have what is live in SOURCE go live in ENVIRONMENT: the same bytes, nothing is built, under ENVIRONMENT's policy and with its variables.

    SOURCE may also be a deployment: an id, a version, a commit, an alias. What differs is shown first; nothing is asked. This ends the
    freeze that a rollback left. Exit code: as of `lekiwi deploy`; 8 it waits for approval.
    """
    move = Move(
        source=source,
        target=target,
        reason=reason,
        force=force,
        dry_run=dry_run,
        keep_env=keep_env,
        utc_offset_min=run.utc_offset_min,
    )
    return carry_out(run, move, only_diff=only_diff, no_wait=no_wait, timeout=timeout)


def carry_out(run: Run, move: Move, *, only_diff: bool, no_wait: bool, timeout: str | None) -> int:
    """Shows what differs, makes the move, and follows it. Returns the exit code."""
    began = time.monotonic()
    from lekiwi_deploy.cli.differing import lines_of
    from lekiwi_deploy.cli.following import timeout_s

    limit = timeout_s(timeout)
    out = run.out
    looked = run.api.promote(run.project, msgspec.structs.replace(move, show=True, dry_run=False))
    for line in lines_of(looked.differences, run.now(), verbose=out.verbose > 0):
        (out.line if only_diff else out.say)(*line)
    for note in looked.notes:
        out.warn(note)
    if only_diff:
        out.object(looked)
        return 0
    moved = run.api.promote(run.project, msgspec.structs.replace(move, digest=looked.deployment.digest))
    return _told(run, moved, began=began, limit=0 if no_wait else limit, dry_run=move.dry_run)


def _told(run: Run, moved: Moved, *, began: float, limit: float | None, dry_run: bool) -> int:
    from lekiwi_deploy.cli.foretelling import show
    from lekiwi_deploy.cli.live import waits, watch

    out, made = run.out, moved.deployment
    result = msgspec.convert(moved, PromoteResult, from_attributes=True)
    what = f"{made.id} {made.version}"
    if not moved.changed:
        out.line(f"{moved.environment} has {what} live already; nothing to do")
    elif dry_run:
        if moved.forecast is not None:
            show(run, moved.forecast)
    elif moved.request is not None:
        for line in waits(moved.request, run):
            out.line(*line)
        out.object(result)
        return EXIT_CODE["blocked"]
    elif moved.rollout is not None:
        if moved.thawed:
            out.say(Cell("☀  ", "yellow"), f"{moved.environment} is not frozen any more: pushes go live again")
        if limit == 0:
            out.line(f"⏳ {what} goes to {moved.environment}; not waiting for it")
            out.say(f"   follow it: lekiwi inspect {moved.rollout} --wait")
        else:
            followed = watch(run, made, moved.rollout, moved.environment, began=began, timeout=limit)
            _undo(run, moved)
            end = followed.told.finished
            if end is not None:
                result = msgspec.structs.replace(
                    result, status=end.status, live=end.live, pending=end.pending, failed=end.failed
                )
            out.object(result)
            return followed.code
        _undo(run, moved)
    out.object(result)
    return 0


def _undo(run: Run, moved: Moved) -> None:
    if moved.undo:
        run.out.say(Cell(f"   undo: {moved.undo}", "dim"))
