"""`lekiwi redeploy`"""

from __future__ import annotations

import time

import click

from lekiwi_deploy.cli.flags import Verb, because
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.changes import Redeploy


@click.command("redeploy", cls=Verb, uses=("environment", "project"))
@because
@click.argument("deployment", required=False)
@click.option("--rebuild", is_flag=True, help="Build its commit or upload again, whatever was built before.")
@click.option("-m", "--message", help="What it is about.")
@click.option("--force", is_flag=True, help="Also over what would block it; this is audited.")
@click.option("--no-wait", is_flag=True, help="Do not follow it.")
@click.option("--timeout", metavar="SPAN", help="Follow it no longer than that: 90s, 10m (0: not at all).")
@click.pass_obj
def redeploy(
    run: Run,
    deployment: str | None,
    rebuild: bool,
    message: str | None,
    force: bool,
    no_wait: bool,
    timeout: str | None,
) -> int:
    """Deploy again what is live, or DEPLOYMENT (an id, version, commit, alias, time, or an environment): the same content with the variables
    of now. Nothing is built and nothing is ever skipped: it is a new deployment. With --rebuild its source is built again.

    Exit code: as of `lekiwi deploy`.
    """
    began = time.monotonic()
    from lekiwi_deploy.cli.following import follow, timeout_s

    limit = timeout_s(timeout)
    out = run.out
    asked = Redeploy(
        environment=run.environment,
        deployment=deployment,
        rebuild=rebuild,
        message=message,
        force=force,
        utc_offset_min=run.utc_offset_min,
    )
    made = run.api.redeploy(run.project, asked)
    out.say(f"🔁 {made.id} {made.version} for {made.environment}{', built again' if rebuild else ''}")
    if no_wait or limit == 0:
        out.say(f"   not waiting for it; follow it: lekiwi inspect {made.id} --wait")
        out.object(made)
        if not out.json:
            out.line(made.id)
        return 0
    followed = follow(run, made.id, began=began, timeout=limit, cancel=made.id)
    for line in followed.lines:
        out.line(*line)
    if followed.told.finished and followed.told.finished.undo:
        out.say(Cell(f"   {made.id} · undo: {followed.told.finished.undo}", "dim"))
    if out.json:
        out.object(run.api.deployment(made.id).deployment)
    return followed.code
