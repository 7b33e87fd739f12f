"""`lekiwi robots events`"""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.wire.why import RobotEvent

_AHEAD = timedelta(minutes=5)
_BEHIND = timedelta(days=365)


@click.command("events", cls=Verb)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 500), default=30, show_default=True)
@click.option("--before", type=int, metavar="N", help="Only events with a number below that.")
@click.pass_obj
def events(run: Run, name: str, limit: int, before: int | None) -> None:
    """What happened on a robot, newest first."""
    found = run.api.events(name, limit=limit, before=before)
    run.out.object(found)
    if not found.events:
        run.out.say("Nothing yet." if before is None else "Nothing before that.")
        return
    now = run.now()
    run.out.table(
        (Column("WHEN"), Column("WHAT"), Column("DEPLOYMENT", 2), Column("TEXT")),
        [
            (when(event, now), event.kind.replace("_", " "), event.deployment or "", event.text)
            for event in found.events
        ],
    )
    if found.cursor is not None:
        run.out.say(Cell(f"older: lekiwi robots events {name} --before {found.cursor}", "dim"))


def when(event: RobotEvent, now: datetime) -> str:
    """When it happened, by the robot's clock, unless that cannot be: then when the server heard of it."""
    wrong = event.at > event.told_at + _AHEAD or event.at < event.told_at - _BEHIND
    return ago(event.told_at, now) + " (its clock is wrong)" if wrong else ago(event.at, now)
