"""`lekiwi robots adopt`"""

from __future__ import annotations

import sys

import click
import msgspec

from lekiwi_deploy.cli.adopting.found import Survey
from lekiwi_deploy.cli.adopting.ssh import Route, checked_target
from lekiwi_deploy.cli.adopting.together import Candidate, Wish, adopt_all, ask_password
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import plural
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.client.address import check_plain_http, checked_address, is_loopback
from lekiwi_deploy.errors import EXIT_CODE, BadInput


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. `robot` None: it did not get that far; `code` None: all is well, else `message` and `next` say what is not.
    `seconds`: of the installation; `ssh_locked`: nobody logs in there with a password."""

    target: str
    robot: str | None
    code: str | None = None
    message: str | None = None
    next: tuple[str, ...] = ()
    seconds: float | None = None
    ssh_locked: bool | None = None
    survey: Survey | None = None


class Adoptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    robots: tuple[Adopted, ...]
    schema: str = "lekiwi.robots-adopted/1"


@click.command("adopt", cls=Verb, uses=("environment", "project", "tags"))
@click.argument("targets", nargs=-1, required=True, metavar="USER@HOST…")
@click.option("--group", metavar="GROUP", help="Its environment, or the group of exactly one.")
@click.option("--name", metavar="NAME", help="What the robot is called (else as its host).")
@click.option("--port", type=click.IntRange(1, 65535), help="Where SSH listens there.")
@click.option("--identity", metavar="FILE", help="The key to log in with, as ssh's -i.")
@click.option("-o", "options", metavar="OPTION", multiple=True, help="Passed on to ssh.")
@click.option("--url", metavar="URL", help="How the robot reaches the server (else as you do).")
@click.option(
    "--sudo-password", is_flag=True, help="Ask for sudo's password first, once for all; without a terminal: stdin."
)
@click.option("--lock-ssh", "lock", is_flag=True, help="Afterwards let nobody log in there with a password.")
@click.option("--again", is_flag=True, help="Although it is a robot, or another machine has the name.")
@click.option("--dry-run", is_flag=True, help="Look, show, and stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def adopt(
    run: Run,
    targets: tuple[str, ...],
    group: str | None,
    name: str | None,
    port: int | None,
    identity: str | None,
    options: tuple[str, ...],
    url: str | None,
    sudo_password: bool,
    lock: bool,
    again: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Make machines robots, over SSH, once: look at each, show what runs there, ask, install the agent, wait until it is linked.

    The agent comes from the server through the SSH connection; the robot needs no package index. What runs there today is not
    touched. Running it again upgrades or repairs. Exit code 6 when some of several did not get there.
    """
    group = group or run.environment
    if group is None:
        raise BadInput(
            "which group do they belong to?", next=(f"lekiwi robots adopt {' '.join(targets)} --group production",)
        )
    if name is not None and len(targets) > 1:
        raise BadInput("--name is for one machine: adopt them one by one, or let each be called as its host")
    if len(set(targets)) < len(targets):
        raise BadInput("a machine is named twice")
    routes = [Route(checked_target(target), port, identity, options) for target in targets]
    wish = Wish(
        group=group,
        name=name,
        url=_url(run, url),
        server_id=run.api.server().server,
        insecure_http=run.target.insecure_http,
        again=again,
        dry_run=dry_run,
        yes=yes,
        lock=lock,
        sudo_password=_password() if sudo_password else None,
    )
    candidates = adopt_all(run, routes, wish)
    if len(candidates) == 1 and candidates[0].error is not None:
        raise candidates[0].error
    run.out.object(Adoptions(robots=tuple(_adopted(candidate) for candidate in candidates)))
    return _conclude(run, candidates, wish)


def _url(run: Run, given: str | None) -> str:
    """How robots reach the server. Raises `BadInput` for an address that means the robot itself, `NotAllowed` for plain HTTP."""
    url = checked_address(given or run.target.api)
    host = url.partition("://")[2].split("/")[0]
    if is_loopback(host if host.startswith("[") else host.partition(":")[0]):
        raise BadInput(
            f"{url} would lead a robot to itself: say how it reaches the server",
            next=("lekiwi robots adopt … --url http://ADDRESS-OF-THE-SERVER:8080 --insecure-http",),
        )
    check_plain_http(url, insecure_http=run.target.insecure_http)
    return url


def _password() -> str:
    found = ask_password("sudo's password there: ")
    return sys.stdin.readline().rstrip("\n") if found is None else found


def _adopted(candidate: Candidate) -> Adopted:
    error = candidate.error
    return Adopted(
        target=candidate.target,
        robot=candidate.plan.name if candidate.plan is not None else None,
        code=error.code if error is not None else None,
        message=error.message if error is not None else None,
        next=error.next if error is not None else (),
        seconds=candidate.seconds,
        ssh_locked=candidate.locked,
        survey=candidate.survey,
    )


def _conclude(run: Run, candidates: list[Candidate], wish: Wish) -> int:
    wrong = [candidate for candidate in candidates if candidate.error is not None]
    if not wrong:
        if not wish.dry_run:
            names = [candidate.plan.name for candidate in candidates if candidate.plan is not None]
            run.out.say(Cell("   next: git push lekiwi main      # or: lekiwi deploy", "dim"))
            run.out.say(
                Cell(f"   undo: sudo lekiwi-agent uninstall   # there; and: lekiwi robots rm {names[0]}", "dim")
            )
        return 0
    run.out.say()
    for candidate in wrong:
        assert candidate.error is not None
        run.out.warn(f"{candidate.target}: {candidate.error.message}")
        for line in candidate.error.next:
            run.out.say(Cell("  → ", "dim"), Cell(line, "cyan"))
    done = len(candidates) - len(wrong)
    run.out.warn(f"{plural(done, 'robot')} of {len(candidates)} adopted")
    run.out.say(Cell("  → ", "dim"), Cell(f"lekiwi robots adopt {' '.join(c.target for c in wrong)}", "cyan"))
    return EXIT_CODE["partial"]
