"""`lekiwi projects`"""

from __future__ import annotations

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago
from lekiwi_deploy.cli.table import Column
from lekiwi_deploy.wire.api import Project


class Projects(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    projects: tuple[Project, ...]
    schema: str = "lekiwi.projects/1"


@click.command("projects", cls=Verb)
@click.pass_obj
def projects(run: Run) -> None:
    """The projects on the server. `lekiwi link NAME` makes one."""
    found = run.api.projects()
    run.out.object(Projects(projects=found))
    if not found:
        run.out.say("No projects yet. Make one: lekiwi link NAME")
        return
    here = run.linked.link.project if run.linked else None
    run.out.table(
        (Column("PROJECT"), Column("CREATED"), Column("ROBOTS"), Column("ENVIRONMENTS", 1), Column("")),
        [
            (
                project.name,
                ago(project.created_at, run.now()),
                str(sum(environment.robots for environment in project.environments)),
                ", ".join(environment.name for environment in project.environments),
                "linked here" if project.name == here else "",
            )
            for project in found
        ],
    )
