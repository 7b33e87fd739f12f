"""`lekiwi preview …`: branches on robots that are lent to them for a time."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from lekiwi_deploy.cli.flags import Verb, VerbGroup
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, ahead, parse_span, plural, span
from lekiwi_deploy.cli.table import Cell, Column
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.previews import ExtendPreview, OpenPreview, PreviewView

COLUMNS = (
    Column("PREVIEW"),
    Column("STATE"),
    Column("ROBOTS"),
    Column("RUNS", 1),
    Column("POOL", 2),
    Column("BRANCH", 3),
    Column("BY", 4),
)

preview = VerbGroup(
    "preview", help="Branches on robots that are lent to them for a time: list, show, open, extend, rm."
)


@preview.command("list", cls=Verb, uses=("project",))
@click.pass_obj
def list_(run: Run) -> None:
    """Previews: which robots they have and until when, and which ones wait."""
    found = run.api.previews(run.project)
    run.out.object(found)
    if not found.previews:
        run.out.say("No previews.")
        run.out.say(Cell('   → in lekiwi.yaml: branches: {"pr-*": preview-robots}; then push a branch pr-1', "dim"))
        return
    now = run.now()
    run.out.table(
        COLUMNS,
        [
            (
                one.environment,
                said(one, now),
                ", ".join(lease.robot for lease in one.leases),
                one.live or "",
                one.pool,
                one.branch,
                one.opened_by,
            )
            for one in found.previews
        ],
    )


@preview.command("show", cls=Verb, uses=("project",))
@click.argument("name")
@click.pass_obj
def show(run: Run, name: str) -> None:
    """One preview, by its name or its branch."""
    found = run.api.preview(run.project, name)
    run.out.object(found)
    _fields(run, found)


@preview.command("open", cls=Verb, uses=("project",))
@click.argument("branch")
@click.option("--lease", metavar="TIME", help="How long its robots stay since the last push: 2h, 1d.")
@click.option("--robots", type=int, metavar="N", help="How many robots it wants.")
@click.option("--reason", default="", help="Why, for the history.")
@click.pass_obj
def open_(run: Run, branch: str, lease: str | None, robots: int | None, reason: str) -> None:
    """Give a branch that was pushed robots again, or its first ones."""
    lease_s = parse_span(lease) if lease is not None else None
    wish = OpenPreview(branch=branch, lease_s=lease_s, robots=robots, reason=reason)
    found = run.api.open_preview(run.project, wish)
    run.out.object(found)
    run.out.line(f"{found.environment} of {found.project}: {said(found, run.now())}")
    _what_follows(run, found)
    run.out.say(f"   undo: lekiwi preview rm {found.environment}")


@preview.command("extend", cls=Verb, uses=("project",))
@click.argument("name")
@click.argument("lease", metavar="TIME")
@click.option("--reason", default="", help="Why, for the history.")
@click.pass_obj
def extend(run: Run, name: str, lease: str, reason: str) -> None:
    """Keep a preview's robots for so long from now: `lekiwi preview extend pr-12 2h`."""
    before = run.api.preview(run.project, name)
    found = run.api.extend_preview(run.project, name, ExtendPreview(lease_s=parse_span(lease), reason=reason))
    run.out.object(found)
    run.out.line(f"{found.environment} of {found.project}: {said(found, run.now())}")
    left = (before.until - run.now()).total_seconds() if before.until is not None else 0.0
    if left >= 60:
        run.out.say(f"   undo: lekiwi preview extend {found.environment} {left / 60:.0f}m")


@preview.command("rm", cls=Verb, uses=("project",))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why, for the history.")
@click.pass_obj
def rm(run: Run, name: str, yes: bool, reason: str) -> None:
    """End a preview: its robots go back to what they ran before, its environment is forgotten."""
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput(
                f"removing {name} ends what it runs, and there is no terminal to confirm it on",
                next=(f"lekiwi preview rm {name} --yes",),
                details={"reason": "no_terminal"},
            )
        found = run.api.preview(run.project, name)
        robots = ", ".join(lease.robot for lease in found.leases)
        click.confirm(f"End the preview {found.environment}{f' on {robots}' if robots else ''}?", abort=True, err=True)
    was = run.api.remove_preview(run.project, name, reason)
    run.out.object(was)
    back = [f"{lease.robot} goes back to {lease.home}" for lease in was.leases]
    run.out.line(f"the preview {was.environment} is over" + (f": {'; '.join(back)}" if back else ""))
    run.out.say(f"   undo: lekiwi preview open {was.branch}")


def said(found: PreviewView, now: datetime) -> str:
    """`until 18:02 (in 4 hours)`, `waits: 2 before it`, `over`."""
    has = bool(found.leases) and found.until is not None
    parts: list[str] = []
    if has and found.until is not None:
        parts.append(f"until {_clock(found.until, now)} ({ahead(found.until, now)})")
    if found.waits_since is not None and found.ahead is not None:
        more = plural(found.wants - len(found.leases), "more robot") if has else "a robot"
        place = f"{found.ahead} before it" if found.ahead else "first in the queue"
        comes = f", one is free {_clock(found.free_at, now)} at the latest" if found.free_at is not None else ""
        why = f"; {found.why}" if found.why else ""
        parts.append(f"waits for {more}: {place}{comes}{why}")
    return "; ".join(parts) or "over: it has no robots"


def _clock(at: datetime, now: datetime) -> str:
    local = at.astimezone()
    return local.strftime("%H:%M" if local.date() == now.astimezone().date() else "%d %b %H:%M")


def _fields(run: Run, found: PreviewView) -> None:
    now = run.now()
    run.out.fields(
        [
            ("preview", Cell(f"{found.environment} of {found.project}", "bold")),
            ("branch", found.branch),
            ("state", said(found, now)),
            ("robots", "; ".join(f"{one.robot} of {one.home}, since {ago(one.since, now)}" for one in found.leases)),
            ("pool", f"{found.pool}: {plural(found.wants, 'robot')} for {span(found.lease_s)} since the last push"),
            ("runs", found.live or ""),
            ("next", f"{found.waits} goes live as soon as it has a robot" if found.waits else ""),
            ("opened", f"by {found.opened_by}, {ago(found.opened_at, now)}"),
        ]
    )


def _what_follows(run: Run, found: PreviewView) -> None:
    if found.leases:
        run.out.say(f"   look: lekiwi status -e {found.environment}")
    else:
        run.out.say("   it goes live by itself; the queue: lekiwi preview list")
