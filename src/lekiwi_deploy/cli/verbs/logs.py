"""`lekiwi logs`"""

from __future__ import annotations

from collections.abc import Iterator

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.api import LogEntry

INTERRUPTED = 130
_LEVELS = ("debug", "info", "warning", "error", "critical")
_STYLES = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}


@click.command("logs", cls=Verb, uses=("environment", "project", "robot"))
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=200, show_default=True, help="Of history.")
@click.option("--service", metavar="NAME", help="Only this service.")
@click.option("--deployment", metavar="DEP", help="Only of this deployment.")
@click.option("--since", metavar="TIME", help="15m, 2-hours-ago, 'yesterday 14:00', 2026-08-21T14:00.")
@click.option("--until", metavar="TIME", help="As --since.")
@click.option("--level", type=click.Choice(_LEVELS), help="This level and above.")
@click.option("--grep", metavar="TEXT", help="Only lines with this in them.")
@click.option("--build", is_flag=True, help="What builds and tests wrote, instead of robots.")
@click.pass_obj
def logs(
    run: Run,
    follow: bool,
    lines: int,
    service: str | None,
    deployment: str | None,
    since: str | None,
    until: str | None,
    level: str | None,
    grep: str | None,
    build: bool,
) -> int:
    """What the services of the robots write: history first, then, with --follow, what comes. Ctrl-C ends it."""
    from lekiwi_deploy.client.streams import follow_logs

    out = run.out

    def lost(error: LekiwiError) -> None:
        out.say(Cell(f"{error.message}; trying again, nothing is lost...", "yellow"))

    query = {
        "robot": run.flags.robot,
        "environment": run.flags.environment,
        "deployment": deployment,
        "service": service,
        "since": since,
        "until": until,
        "utc_offset_min": run.utc_offset_min,
        "level": level,
        "grep": grep,
        "limit": lines,
        "build": True if build else None,
    }
    entries = follow_logs(run.api.transport, run.project, query, follow=follow, lost=lost)
    try:
        if out.json:
            for entry in entries:
                out.object(entry)
        else:
            _print(run, entries)
    except KeyboardInterrupt:
        out.say("Stopped following.")
        return INTERRUPTED
    return 0


def _print(run: Run, entries: Iterator[LogEntry]) -> None:
    widths = [0, 0]
    for entry in entries:
        names = [entry.robot or "build", entry.service]
        widths = [max(width, len(name)) for width, name in zip(widths, names, strict=True)]
        when = entry.at.astimezone()
        run.out.line(
            Cell(f"{when:%H:%M:%S}.{when.microsecond // 1000:03} ", "dim"),
            Cell(f"{names[0]:<{widths[0]}} ", "cyan"),
            Cell(f"{names[1]:<{widths[1]}} ", "dim"),
            Cell(entry.text, _STYLES.get(entry.level or "", "")),
        )
