"""`lekiwi unlink`"""

from __future__ import annotations

from pathlib import Path

import click

from lekiwi_deploy.cli import git, project
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.project import Link
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import NotFound


class Unlinked(Link, frozen=True, kw_only=True):
    """What `--json` prints: the link that was. `remotes`: those that git forgot."""

    remotes: tuple[str, ...]
    schema: str = "lekiwi.unlink/1"


@click.command("unlink", cls=Verb)
@click.pass_obj
def unlink(run: Run) -> None:
    """Undo `lekiwi link` here: the link, git's remote and its way to the token. The project itself stays."""
    linked = run.linked
    if linked is None:
        raise NotFound("this folder is not linked to a project", next=("lekiwi link NAME",))
    link, remotes = linked.link, []
    top = git.top(Path.cwd())
    if top is not None and link.api:
        for remote in (git.ask(top, "remote") or "").split():
            if git.remote_url(top, remote) == f"{link.api}/git/{link.project}.git":
                git.run(top, "remote", "remove", remote)
                remotes.append(remote)
        git.ask(top, "config", "--local", "--remove-section", f"credential.{link.api}")
    project.remove(linked)
    run.out.object(Unlinked(project=link.project, environment=link.environment, api=link.api, remotes=tuple(remotes)))
    run.out.line(f"Unlinked {linked.folder.name} from {link.project}; the project and its robots stay as they are")
    run.out.say(f"   undo: lekiwi link {link.project}")
