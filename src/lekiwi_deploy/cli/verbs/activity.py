"""`lekiwi activity`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Column
from lekiwi_deploy.wire.api import Audit


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    activity: tuple[Audit, ...]
    schema: str = "lekiwi.activity-list/1"


@click.command("activity", cls=Verb, uses=("project",))
@click.option("--limit", type=click.IntRange(1, 1000), default=30, show_default=True)
@click.pass_obj
def activity(run: Run, limit: int) -> None:
    """Who changed what in the project, newest first."""
    found = run.api.activity(run.project, limit=limit)
    run.out.object(Activity(activity=found))
    if not found:
        run.out.say("Nothing yet.")
        return
    run.out.table(
        (Column("WHEN"), Column("WHO"), Column("WHAT"), Column("TARGET"), Column("DETAIL", 1)),
        [
            (
                ago(change.at, run.now()),
                change.actor,
                change.action,
                change.target,
                " ".join(f"{name}={value}" for name, value in change.detail.items() if value not in (None, "", False)),
            )
            for change in found
        ],
    )
