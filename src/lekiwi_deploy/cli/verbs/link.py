"""`lekiwi link`"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from lekiwi_deploy.cli import git, project
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.project import Link
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import Conflict, NotFound
from lekiwi_deploy.wire.api import Project
from lekiwi_deploy.wire.ids import checked_name


class Linked(Link, frozen=True, kw_only=True):
    """What `--json` prints. `created`: the project is new; `remote` and `url` None: no git repository here."""

    folder: str
    created: bool
    remote: str | None
    url: str | None


@click.command("link", cls=Verb, uses=("environment", "project"))
@click.argument("name", required=False)
@click.option("--remote", default="lekiwi", show_default=True, metavar="NAME", help="What git is to call the server.")
@click.pass_obj
def link(run: Run, name: str | None, remote: str) -> None:
    """Link this folder to the project NAME (the folder's name), which is made when there is none.

    In a git repository it also adds a remote, so that `git push lekiwi main` deploys; git asks `lekiwi` for the token,
    which is written into no URL and no configuration. -e says what --env is to default to here.
    """
    here = Path.cwd()
    top = git.top(here)
    folder = top or here
    known = project.find(folder)
    if name is None:
        name = run.flags.project or (known.link.project if known else project.name_for(folder))
    name = checked_name("a project", name)
    made, created = _project(run, name)
    address = run.target.api
    url = address + made.git
    if top is not None:
        _add_remote(top, remote, url, address)
        _set_credentials(top, address, insecure_http=run.target.insecure_http)
    wanted = Link(project=name, environment=run.flags.environment, api=address)
    path = project.write(folder, wanted)
    run.out.object(
        Linked(
            project=name, environment=wanted.environment, api=address, folder=str(folder), created=created,
            remote=remote if top else None, url=url if top else None,
        )
    )  # fmt: skip
    run.out.line(f"Linked {folder.name or folder} to {'the new project ' if created else ''}{name} on {address}")
    run.out.detail(str(path))
    if top is None:
        run.out.say("   no git repository here: `lekiwi deploy` deploys the folder; after `git init`, link again")
    else:
        run.out.say(f"   deploy: git push {remote} {git.ask(top, 'symbolic-ref', '--short', 'HEAD') or 'main'}")
    run.out.say("   undo: lekiwi unlink")


def _project(run: Run, name: str) -> tuple[Project, bool]:
    try:
        return run.api.project(name), False
    except NotFound:
        pass
    try:
        return run.api.create_project(name), True
    except Conflict:  # somebody else made it just now
        return run.api.project(name), False


def _add_remote(top: Path, remote: str, url: str, address: str) -> None:
    known = git.remote_url(top, remote)
    if known is None:
        git.run(top, "remote", "add", remote, url)
    elif known != url and known.startswith(f"{address}/git/"):
        git.run(top, "remote", "set-url", remote, url)
    elif known != url:
        raise Conflict(
            f"git has a remote {remote!r} already, for {known}",
            next=(f"git remote rename {remote} old-{remote}", "lekiwi link --remote OTHER-NAME"),
        )


def _set_credentials(top: Path, address: str, *, insecure_http: bool) -> None:
    """For this server only; the empty entry keeps other helpers from storing the token elsewhere."""
    key = f"credential.{address}.helper"
    command = f"!{program()} git-credential" + (" --insecure-http" if insecure_http else "")
    git.run(top, "config", "--local", "--replace-all", key, "")
    git.run(top, "config", "--local", "--add", key, command)


def program() -> str:
    """How a shell calls this very program."""
    beside = Path(sys.executable).parent / "lekiwi"
    found = str(beside) if beside.is_file() else shutil.which("lekiwi")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m lekiwi_deploy.cli"
