"""`lekiwi deploy`: this folder, or a ref of the project's repository, onto the robots of an environment."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.api import NewDeployment
from lekiwi_deploy.wire.forecast import ForecastRequest
from lekiwi_deploy.wire.pace import Strategy


@click.command("deploy", cls=Verb, uses=("environment", "project"))
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--ref", metavar="REF", help="A branch, tag or commit that was pushed, instead of a folder.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out, beside what .gitignore says.")
@click.option("-m", "--message", help="What it is about.")
@click.option("--meta", multiple=True, metavar="K=V", help="Keep this with the deployment.")
@click.option("--version", "version", metavar="V", help="Its version (else out of git's tags or the project file).")
@click.option(
    "--strategy", type=click.Choice([one.value for one in Strategy]), help="Its pace, instead of the environment's."
)
@click.option("--canary", metavar="N or %", help="So many robots first: 2, 10%.")
@click.option("--wave", metavar="%", help="Then so many at a time: 25%.")
@click.option("--soak", metavar="SPAN", help="How long each share stays healthy before the next: 60s.")
@click.option(
    "--min-success", metavar="%", help="So many of all robots must confirm it, those that are off included: 95%."
)
@click.option("--skip-offline", is_flag=True, help="Leave out robots that are off when it begins.")
@click.option(
    "--offline",
    type=click.Choice(["pending", "fail", "ignore"]),
    help="What a robot that is off means: it follows later, the rollout is partial, or it is left out.",
)
@click.option("--dry-run", is_flag=True, help="Only say who would get it, when, and what would hold it back.")
@click.option("--no-wait", is_flag=True, help="Do not follow it.")
@click.option("--timeout", metavar="SPAN", help="Follow it no longer than that: 90s, 10m (0: not at all).")
@click.option("--force", is_flag=True, help="Also over what would block it; this is audited.")
@click.pass_obj
def deploy(
    run: Run,
    path: Path,
    ref: str | None,
    exclude: tuple[str, ...],
    message: str | None,
    meta: tuple[str, ...],
    version: str | None,
    strategy: str | None,
    canary: str | None,
    wave: str | None,
    soak: str | None,
    min_success: str | None,
    skip_offline: bool,
    offline: str | None,
    dry_run: bool,
    no_wait: bool,
    timeout: str | None,
    force: bool,
) -> int:
    """Deploy a folder (this one), without git; or, with --ref, what was pushed.

    --strategy, --canary, --wave and --soak make it more careful than its environment's policy; with --force they hold instead of that.

    --min-success, --skip-offline (--offline ignore) and --offline fail (--min-success 100%) say what counts of robots that are off;
    without them its environment's policy does.

    Exit code: 0 live on every robot that is online, 5 it failed and what ran before runs again, 6 live on some only (or on fewer
    than --min-success), 7 not decided in time (it goes on), 8 it waits for somebody.
    """
    began = time.monotonic()
    from lekiwi_deploy.cli.following import follow, timeout_s
    from lekiwi_deploy.cli.pace import offline_of, pace_of
    from lekiwi_deploy.cli.packing import packed

    limit = timeout_s(timeout)
    details = _meta(meta)
    pace = pace_of(strategy, canary, wave, soak)
    share, leaves_out = offline_of(offline, min_success, skip_offline=skip_offline)
    if ref is not None and (path != Path() or exclude):
        raise BadInput("--ref deploys what was pushed: it goes with neither a PATH nor --exclude")
    project, out = run.project, run.out
    asked = NewDeployment(
        environment=run.environment,
        message=message,
        version=version,
        meta=details,
        force=force,
        ref=ref,
        pace=pace,
        min_success=share,
        skip_offline=leaves_out,
    )
    if dry_run:
        from lekiwi_deploy.cli.foretelling import show

        plan = run.api.forecast(project, ForecastRequest(environment=run.environment, ref=ref, force=force, pace=pace))
        show(run, plan)
        out.object(plan)
        return 0
    out.say(
        f"🚀 Deploying {project}..." if run.environment is None else f"🚀 Deploying {project} to {run.environment}..."
    )
    if ref is None:
        asked = packed(run, project, path, exclude, asked)
    made = run.api.deploy(project, asked)
    url = made.url or f"{run.api.transport.address}/{made.id}"
    out.detail(f"deployment {made.id}")
    if no_wait or limit == 0:
        out.say(f"⏳ {made.id} is queued; not waiting for it. Follow it: lekiwi inspect {made.id} --wait")
        out.split("🌐 ", url)
        out.object(made)
        return 0
    followed = follow(run, made.id, began=began, timeout=limit, cancel=made.id)
    for line in followed.lines:
        out.say(*line)
    if followed.told.finished and followed.told.finished.undo:
        out.say(Cell(f"   {made.id} · undo: {followed.told.finished.undo}", "dim"))
    out.split("🌐 ", url)
    if out.json:
        out.object(run.api.deployment(made.id).deployment)
    return followed.code


def _meta(given: tuple[str, ...]) -> dict[str, str]:
    meta: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise BadInput(f"--meta {text[:60]!r}: give it as name=value")
        meta[name] = value
    return meta
