"""`lekiwi activity`"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell, Column, Row
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.api import Audit

_SHOWN = 30


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `cursor` goes on where this ended, None: there are no more."""

    activity: tuple[Audit, ...]
    cursor: int | None = None
    schema: str = "lekiwi.activity-list/1"


@click.command("activity", cls=Verb, uses=("environment", "project"))
@click.option(
    "--type", "kind", metavar="T", help="Only changes of that kind: robot, environment.rollback, variables, …"
)
@click.option("--since", metavar="WHEN", help="Only later ones: 2h, yesterday, 2026-08-21T14:00.")
@click.option("--limit", type=click.IntRange(1, 1000), help=f"So many of the newest ({_SHOWN}).")
@click.option("--cursor", type=click.IntRange(1), metavar="NUMBER", help="Go on before that change.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option(
    "--export", metavar="FILE", help="Write every change there, oldest first, one JSON object a line; - for stdout."
)
@click.pass_obj
def activity(
    run: Run,
    kind: str | None,
    since: str | None,
    limit: int | None,
    cursor: int | None,
    follow: bool,
    export: str | None,
) -> None:
    """Who changed what, from where, why, and how to take it back, newest first.

    With --follow and --export, oldest first. `lekiwi undo NUMBER` takes a change back.
    """
    query = {
        "environment": run.flags.environment,
        "type": kind,
        "since": since,
        "utc_offset_min": run.utc_offset_min if since is not None else None,
    }
    if follow and export is not None:
        raise BadInput("--export writes what there is: leave --follow out")
    if cursor is not None and (follow or export is not None):
        raise BadInput("--cursor goes on in a page: it goes with neither --follow nor --export")
    if export is not None:
        _export(run, {**query, "limit": limit}, export)
    elif follow:
        _follow(run, {**query, "limit": limit or 10})
    else:
        _page(run, {**query, "limit": limit or _SHOWN, "cursor": cursor})


def _page(run: Run, query: dict[str, str | int | None]) -> None:
    found = run.api.activity(run.project, query)
    more = len(found) == query["limit"]
    run.out.object(Activity(activity=found, cursor=found[-1].seq if more else None))
    if not found:
        run.out.say("Nothing yet." if query["type"] is None and query["since"] is None else "Nothing like that.")
        return
    titles = (("#", 1), ("WHEN", 0), ("WHO", 0), ("FROM", 3), ("WHAT", 0), ("WHY", 0), ("UNDO", 0))
    run.out.table([Column(title, drop) for title, drop in titles], [_row(run, change) for change in found])
    if more:
        run.out.say(Cell(f"more: lekiwi activity --cursor {found[-1].seq}", "dim"))


def _row(run: Run, change: Audit) -> Row:
    undone = change.undone_by is not None
    return (
        Cell(str(change.seq), "dim"),
        ago(change.at, run.now()),
        change.actor,
        Cell(change.origin, "dim"),
        Cell(change.text or f"{change.action} {change.target}", "dim" if undone else ""),
        change.reason.split("\n", 1)[0],
        Cell(f"undone by {change.undone_by}", "dim") if undone else Cell(change.undo, "cyan"),
    )


def _follow(run: Run, query: dict[str, str | int | None]) -> None:
    from lekiwi_deploy.client.streams import follow_activity

    out = run.out

    def lost(error: Exception) -> None:
        out.say(Cell(f"{error}; trying again...", "dim"))

    for change in follow_activity(run.api.transport, run.project, query, follow=True, lost=lost):
        out.object(change)
        why = f" ({change.reason.splitlines()[0]})" if change.reason else ""
        undo = f"   {change.undo}" if change.undo else ""
        out.line(
            Cell(f"{change.at.astimezone():%d %b %H:%M:%S}  ", "dim"),
            Cell(change.actor, "bold"),
            f"  {change.text}{why}",
            Cell(undo, "dim"),
        )


def _export(run: Run, query: dict[str, str | int | None], file: str) -> None:
    from lekiwi_deploy.client.streams import follow_activity
    from lekiwi_deploy.wire.encoding import encode

    changes = follow_activity(run.api.transport, run.project, query, follow=False)
    count = 0
    if file == "-":
        for change in changes:
            run.out.raw(encode(change).decode() + "\n")
        return
    try:
        with Path(file).open("xb") as target:
            for change in changes:
                target.write(encode(change) + b"\n")
                count += 1
    except FileExistsError as error:
        raise BadInput(f"{file} is there already: give another name, or remove it") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error
    run.out.say(f"{plural(count, 'change')} written to {file}")
